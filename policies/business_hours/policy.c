/* Open from Monday to Friday, 8 to 18 h UTC. */
#include "arqon_policy.h"

arqon_verdict arqon_judge(const arqon_event *event) {
  uint64_t hours = event->now_ms / 3600000;
  /* 1 January 1970 was a Thursday. */
  uint32_t weekday = (uint32_t)((hours / 24 + 3) % 7), hour = (uint32_t)(hours % 24);
  if (weekday >= 5 || hour < 8 || hour >= 18) return arqon_deny(4001, "open from Monday to Friday, 8 to 18 h UTC");
  return arqon_allow();
}
