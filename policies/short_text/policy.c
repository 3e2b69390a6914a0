/* A message is a JSON object of one key, "text", whose value is a string of 500 bytes at most. */
#include "arqon_policy.h"

enum { TEXT_MAX = 500 };
static const uint8_t *at, *end;

static void blanks(void) {
  while (at < end && (*at == ' ' || *at == '\t')) at++;
}

static bool take(char c) {
  blanks();
  if (at >= end || *at != (uint8_t)c) return false;
  at++;
  return true;
}

/* The bytes of a string between its quotes, -1 if there is none. Escapes count as they stand. */
static int string(void) {
  if (!take('"')) return -1;
  const uint8_t *start = at;
  while (at < end && *at != '"') at += *at == '\\' ? 2 : 1;
  if (at >= end) return -1;
  return (int)(at++ - start);
}

arqon_verdict arqon_judge(const arqon_event *event) {
  at = event->payload.at;
  end = at + event->payload.len;
  if (!event->json || !take('{')) return arqon_deny(5001, "a message is {\"text\":\"...\"}");
  blanks();
  arqon_text rest = {at, (uint32_t)(end - at)};
  if (!arqon_begins(rest, "\"text\"")) return arqon_deny(5001, "a message is {\"text\":\"...\"}");
  at += 6;
  int len = take(':') ? string() : -1;
  if (len < 0 || !take('}')) return arqon_deny(5001, "a message is {\"text\":\"...\"}");
  blanks();
  if (at != end) return arqon_deny(5001, "a message is {\"text\":\"...\"}");
  if (len > TEXT_MAX) return arqon_deny(5002, "text has 500 bytes at most");
  return arqon_allow();
}
