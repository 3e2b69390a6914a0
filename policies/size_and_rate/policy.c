/* Refuses large messages, and more than ten a second of one sender. What it remembers is its tenant's alone: a new instance begins anew. */
#include "arqon_policy.h"

enum { BYTES_MAX = 4096, BURST = 10, EVERY_MS = 100, SENDERS = 1024 };

/* When each sender's burst will be whole again, by a hash of the name: two that meet share. */
static uint64_t whole_at[SENDERS];

static uint32_t hash(arqon_text text) {
  uint32_t hash = 2166136261u;
  for (uint32_t i = 0; i < text.len; i++) hash = (hash ^ text.at[i]) * 16777619u;
  return hash;
}

arqon_verdict arqon_judge(const arqon_event *event) {
  if (event->payload.len > BYTES_MAX) return arqon_deny(1001, "a message has 4096 bytes at most here");
  uint64_t *whole = &whole_at[hash(event->sender) % SENDERS];
  uint64_t from = *whole > event->now_ms ? *whole : event->now_ms;
  if (from + EVERY_MS > event->now_ms + BURST * EVERY_MS) return arqon_deny(1002, "ten messages a second are enough");
  *whole = from + EVERY_MS;
  return arqon_allow();
}
