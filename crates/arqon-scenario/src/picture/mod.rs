//! A run as a picture: one page of HTML that needs nothing else, for somebody who was not there.
//!
//! [`html`] decides what is worth drawing, and the script of the page draws it. `concern` reads what a violation is about, `layout` has lanes,
//! faults and the view of each violation, `records` picks what is drawn, `latency` what the plot below shows, `page` puts it together.

mod concern;
mod latency;
mod layout;
mod page;
mod records;
#[cfg(test)]
mod testing;

use crate::account::Account;
use crate::verdict::Verdict;

/// A page is never larger, in bytes.
pub const PAGE_BYTES_MAX: usize = 8 << 20;
/// Records that are drawn at most, unless they would not fit into the page.
const RECORDS_MAX: usize = 30_000;

/// The page of a run. Of a large run it shows what concerns the violations and a sample of the rest, and says so.
#[must_use]
pub fn html(account: &Account, verdict: &Verdict) -> String {
    let mut records_max = RECORDS_MAX;
    loop {
        let page = page::page(account, verdict, records_max);
        if page.len() <= PAGE_BYTES_MAX || records_max == 0 {
            return page;
        }
        records_max /= 2;
    }
}
