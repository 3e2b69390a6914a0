/* Puts stars in the place of what looks like the number of a card (13 to 19 digits) or an address of e-mail. JSON stays JSON, for
 * only digits, letters and what may stand in an address are replaced. */
#include "arqon_policy.h"

static bool digit(uint8_t c) { return c >= '0' && c <= '9'; }
static bool word(uint8_t c) { return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-' || c == '+'; }

arqon_verdict arqon_judge(const arqon_event *event) {
  uint32_t len = event->payload.len;
  uint8_t *out = arqon_new_payload();
  bool changed = false, text = false;
  for (uint32_t i = 0; i < len;) {
    uint8_t c = event->payload.at[i];
    /* What is escaped in a string of JSON is part of no word, and a quote there ends nothing. */
    if (event->json && text && c == '\\' && i + 1 < len) {
      out[i] = c;
      out[i + 1] = event->payload.at[i + 1];
      i += 2;
      continue;
    }
    uint32_t end = i;
    while (end < len && word(event->payload.at[end])) end++;
    if (end == i) {
      if (c == '"') text = !text;
      out[i++] = c;
      continue;
    }
    uint32_t digits = 0;
    for (uint32_t j = i; j < end; j++) digits += digit(event->payload.at[j]);
    bool mail = end < len && event->payload.at[end] == '@';
    if (mail)
      for (end++; end < len && word(event->payload.at[end]); end++) {}
    bool card = digits == end - i && digits >= 13 && digits <= 19;
    bool hide = (text || !event->json) && (mail || card);
    for (; i < end; i++) out[i] = hide ? '*' : event->payload.at[i];
    changed |= hide;
  }
  return changed ? arqon_replace(len) : arqon_allow();
}
