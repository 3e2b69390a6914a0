/* Refuses messages with words of a list. All words are looked for at once (Aho and Corasick, Efficient string matching, 1975),
 * so that a longer list costs no more time; upper and lower case are the same. */
#include "arqon_policy.h"

static const char *const WORDS[] = {"spam", "scam", "casino", "lottery", "viagra", "crypto airdrop", "free money", "click here", "buy now", "wire transfer"};
enum { WORD_COUNT = sizeof WORDS / sizeof *WORDS, STATES = 128, FOUND = 128 };

/* Where a byte leads from a state; FOUND is added to where a word ends. */
static uint8_t next[STATES][256];

static uint8_t lower(int c) { return (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c); }

__attribute__((export_name("_initialize"))) void initialize(void) {
  uint8_t states = 1, fail[STATES] = {0}, ends[STATES] = {0}, queue[STATES];
  for (int w = 0; w < WORD_COUNT; w++) {
    uint8_t state = 0;
    for (const char *c = WORDS[w]; *c; c++) {
      uint8_t *to = &next[state][(uint8_t)*c];
      if (!*to) *to = states++;
      state = *to;
    }
    ends[state] = FOUND;
  }
  int first = 0, last = 0;
  for (int c = 0; c < 256; c++)
    if (next[0][c]) queue[last++] = next[0][c];
  while (first < last) {
    uint8_t state = queue[first++];
    ends[state] |= ends[fail[state]];
    for (int c = 0; c < 256; c++) {
      uint8_t to = next[state][c];
      if (to) {
        fail[to] = next[fail[state]][c];
        queue[last++] = to;
      } else {
        next[state][c] = next[fail[state]][c];
      }
    }
  }
  for (int state = 0; state < states; state++)
    for (int c = 0; c < 256; c++) {
      uint8_t to = next[state][lower(c)];
      next[state][c] = to & FOUND ? to : to | ends[to];
    }
}

arqon_verdict arqon_judge(const arqon_event *event) {
  uint8_t state = 0;
  for (uint32_t i = 0; i < event->payload.len; i++) {
    state = next[state][event->payload.at[i]];
    if (state & FOUND) {
      arqon_count_raw("refused", 7, 1);
      return arqon_deny(2001, "such words are not welcome here");
    }
  }
  return arqon_allow();
}
