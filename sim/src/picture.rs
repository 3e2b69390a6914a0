//! Makes the picture of a run from its account.

use std::path::Path;

use anyhow::Context as _;
use arqon_scenario::Account;

/// Judges the account in a file anew and writes its page to another.
///
/// # Errors
/// A file cannot be read or written, or is no account.
pub(crate) fn picture(account: &Path, out: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(account).with_context(|| account.display().to_string())?;
    let read = Account::parse(&text).with_context(|| account.display().to_string())?;
    let verdict = read.judge().with_context(|| account.display().to_string())?;
    std::fs::write(out, arqon_scenario::picture::html(&read, &verdict))
        .with_context(|| out.display().to_string())
}
