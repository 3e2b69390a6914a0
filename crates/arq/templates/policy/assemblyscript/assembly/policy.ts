// Messages are short, and only the editor writes to the room news.
import { Event, Verdict, allow, deny } from "./event";

const BYTES_MAX: i32 = 64;

export function judge(event: Event): Verdict {
  if (event.payloadLength > BYTES_MAX) return deny(1001, "a message has 64 bytes at most here");
  if (event.room == "news" && event.sender != "editor") return deny(1002, "only the editor writes here");
  return allow();
}
