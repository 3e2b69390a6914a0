/* Rooms that begin with `news.` are written by editors alone: who has "role":"editor" among the claims of the token.
 * The binding must ask for claims. */
#include "arqon_policy.h"

arqon_verdict arqon_judge(const arqon_event *event) {
  if (event->kind != ARQON_PUBLISH || !arqon_begins(event->room, "news.")) return arqon_allow();
  if (arqon_contains(event->claims, "\"role\":\"editor\"")) return arqon_allow();
  return arqon_deny(3001, "only editors write here");
}
