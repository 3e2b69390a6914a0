/* Messages are short, and only the editor writes to the room news. */
#include "arqon_policy.h"

enum { BYTES_MAX = 64 };

arqon_verdict arqon_judge(const arqon_event *event) {
  if (event->payload.len > BYTES_MAX) return arqon_deny(1001, "a message has 64 bytes at most here");
  if (arqon_is(event->room, "news") && !arqon_is(event->sender, "editor")) return arqon_deny(1002, "only the editor writes here");
  return arqon_allow();
}
