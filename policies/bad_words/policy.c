/* Refuses messages with words of a list. All words are looked for at once (Aho and Corasick, Efficient string matching, 1975),
 * so that a longer list costs no more time; upper and lower case are the same. */
#include "arqon_policy.h"

static const char *const WORDS[] = {"spam", "scam", "casino", "lottery", "viagra", "crypto airdrop", "free money", "click here", "buy now", "wire transfer"};
enum { WORD_COUNT = sizeof WORDS / sizeof *WORDS, STATES = 128, LETTERS = 28 };

/* Letters are 1 to 26, a space 27, all else 0. */
static uint8_t class_of[256];
static uint8_t next[STATES][LETTERS];
static uint8_t ends[STATES];

__attribute__((export_name("_initialize"))) void initialize(void) {
  for (int c = 0; c < 26; c++) class_of['a' + c] = class_of['A' + c] = (uint8_t)(c + 1);
  class_of[' '] = 27;
  uint8_t states = 1, fail[STATES] = {0}, queue[STATES];
  for (int w = 0; w < WORD_COUNT; w++) {
    uint8_t state = 0;
    for (const char *c = WORDS[w]; *c; c++) {
      uint8_t *to = &next[state][class_of[(uint8_t)*c]];
      if (!*to) *to = states++;
      state = *to;
    }
    ends[state] = 1;
  }
  int first = 0, last = 0;
  for (int c = 0; c < LETTERS; c++)
    if (next[0][c]) queue[last++] = next[0][c];
  while (first < last) {
    uint8_t state = queue[first++];
    ends[state] |= ends[fail[state]];
    for (int c = 0; c < LETTERS; c++) {
      uint8_t to = next[state][c];
      if (to) {
        fail[to] = next[fail[state]][c];
        queue[last++] = to;
      } else {
        next[state][c] = next[fail[state]][c];
      }
    }
  }
}

arqon_verdict arqon_judge(const arqon_event *event) {
  uint8_t state = 0;
  for (uint32_t i = 0; i < event->payload.len; i++) {
    state = next[state][class_of[event->payload.at[i]]];
    if (ends[state]) {
      arqon_count_raw("refused", 7, 1);
      return arqon_deny(2001, "such words are not welcome here");
    }
  }
  return arqon_allow();
}
