/* The core ABI of arqon:policy@1 for C, without a C library. docs/policy.md has it byte by byte.
 *
 * Include it once, and write `arqon_judge`. Build with
 *   clang --target=wasm32 -O2 -nostdlib -ffreestanding -I policies -Wl,--no-entry -Wl,-z,stack-size=16384 -o policy.wasm policy.c
 * or with `arq policy build`.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const uint8_t *at;
  uint32_t len;
} arqon_text;

enum arqon_kind { ARQON_CONNECT, ARQON_SUBSCRIBE, ARQON_PUBLISH, ARQON_PRESENCE };
enum arqon_level { ARQON_DEBUG, ARQON_INFO, ARQON_WARN };

typedef struct {
  uint8_t kind;
  /* Whether the payload is one JSON value. */
  bool json;
  /* Milliseconds since the Unix epoch. */
  uint64_t now_ms;
  arqon_text tenant, room, sender;
  /* Empty unless the binding asks for them. */
  arqon_text claims, headers;
  arqon_text payload;
} arqon_event;

/* An answer; 0 allows. */
typedef uint64_t arqon_verdict;

/* What the author writes. */
arqon_verdict arqon_judge(const arqon_event *event);

__attribute__((import_module("arqon"), import_name("log"))) void arqon_log_raw(uint32_t level, const char *at, uint32_t len);
__attribute__((import_module("arqon"), import_name("count"))) void arqon_count_raw(const char *at, uint32_t len, uint32_t delta);

/* Larger than any event: message_bytes_max is 64 KiB unless a Shield says otherwise. */
#define ARQON_BUFFER_BYTES (192 * 1024)
static uint8_t arqon_input[ARQON_BUFFER_BYTES] __attribute__((aligned(16)));
static uint8_t arqon_output[ARQON_BUFFER_BYTES] __attribute__((aligned(16)));

/* Where a new payload may be written: ARQON_BUFFER_BYTES - 4 bytes. */
static inline uint8_t *arqon_new_payload(void) { return arqon_output + 4; }

static inline arqon_verdict arqon_allow(void) { return 0; }

static inline arqon_verdict arqon_answer(uint8_t tag, uint16_t code, uint32_t len) {
  arqon_output[0] = tag;
  arqon_output[1] = 0;
  arqon_output[2] = (uint8_t)code;
  arqon_output[3] = (uint8_t)(code >> 8);
  return (uint64_t)(uintptr_t)arqon_output << 32 | (len + 4);
}

/* Puts what was written to arqon_new_payload in the place of the payload. */
static inline arqon_verdict arqon_replace(uint32_t len) { return arqon_answer(2, 0, len); }

/* Refuses; 1000 to 9999 are yours. The reason is text of 256 bytes at most. */
static inline arqon_verdict arqon_deny(uint16_t code, const char *reason) {
  uint32_t len = 0;
  while (reason[len] && len < 256) {
    arqon_output[4 + len] = (uint8_t)reason[len];
    len++;
  }
  return arqon_answer(1, code, len);
}

static inline bool arqon_is(arqon_text text, const char *other) {
  uint32_t i = 0;
  for (; i < text.len && other[i]; i++)
    if (text.at[i] != (uint8_t)other[i]) return false;
  return i == text.len && !other[i];
}

static inline bool arqon_begins(arqon_text text, const char *with) {
  uint32_t i = 0;
  for (; with[i]; i++)
    if (i >= text.len || text.at[i] != (uint8_t)with[i]) return false;
  return true;
}

static inline bool arqon_contains(arqon_text text, const char *part) {
  for (uint32_t i = 0; i < text.len; i++) {
    arqon_text rest = {text.at + i, text.len - i};
    if (arqon_begins(rest, part)) return true;
  }
  return false;
}

static inline uint32_t arqon_u32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

__attribute__((export_name("arqon_abi_v1"))) void arqon_abi_v1(void) {}

__attribute__((export_name("arqon_buffer"))) uint8_t *arqon_buffer(uint32_t len) {
  return len <= ARQON_BUFFER_BYTES ? arqon_input : (uint8_t *)0;
}

__attribute__((export_name("arqon_evaluate"))) arqon_verdict arqon_evaluate(const uint8_t *at, uint32_t len) {
  (void)len;
  arqon_event event;
  event.kind = at[2];
  event.json = at[3] != 0;
  event.now_ms = (uint64_t)arqon_u32(at + 12) << 32 | arqon_u32(at + 8);
  arqon_text *fields[6] = {&event.tenant, &event.room, &event.sender, &event.claims, &event.headers, &event.payload};
  for (int i = 0; i < 6; i++) {
    fields[i]->at = at + arqon_u32(at + 16 + 8 * i);
    fields[i]->len = arqon_u32(at + 20 + 8 * i);
  }
  return arqon_judge(&event);
}

/* What the compiler calls by itself. */
void *memset(void *to, int byte, size_t len) {
  uint8_t *at = to;
  while (len--) *at++ = (uint8_t)byte;
  return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t len) {
  uint8_t *at = to;
  const uint8_t *source = from;
  while (len--) *at++ = *source++;
  return to;
}
