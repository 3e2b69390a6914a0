//! Just enough of Rust's grammar to find functions and count their lines.

/// A function and how many lines of code its body has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Where it begins, counted from 1.
    pub(super) line: usize,
    /// Lines from the opening to the closing brace that hold more than blanks and comments.
    pub(super) code_lines: usize,
}

/// All functions with a body, nested ones too.
pub(super) fn functions(text: &str) -> Vec<Function> {
    let code = strip(text);
    let mut functions = Vec::new();
    for (start, _) in code.match_indices("fn ") {
        let part_of_word = code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String =
            code[start + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if part_of_word || name.is_empty() {
            continue;
        }
        if let Some((open, close)) = body(&code, start) {
            let code_lines = code[open + 1..close].lines().filter(|line| !line.trim().is_empty()).count();
            functions.push(Function { name, line: code[..start].matches('\n').count() + 1, code_lines });
        }
    }
    functions
}

/// The braces of the body of the function that begins at `start`; a declaration has none.
fn body(code: &str, start: usize) -> Option<(usize, usize)> {
    let mut nesting = 0;
    let mut open = None;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' if open.is_none() => nesting += 1,
            b')' | b']' if open.is_none() => nesting -= 1,
            b';' if open.is_none() && nesting == 0 => return None,
            b'{' if open.is_none() && nesting == 0 => {
                open = Some(at);
                nesting = 1;
            }
            b'{' if open.is_some() => nesting += 1,
            b'}' if open.is_some() => {
                nesting -= 1;
                if nesting == 0 {
                    return open.map(|open| (open, at));
                }
            }
            _ => {}
        }
    }
    None
}

/// The text with comments turned into blanks and literals into quotes; lines stay where they are.
fn strip(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let (length, filler) = match rest {
            ['/', '/', ..] => (line_comment(rest), Some(' ')),
            ['/', '*', ..] => (block_comment(rest), Some(' ')),
            ['"', ..] => (quoted(rest, '"'), Some('"')),
            ['r', '"' | '#', ..] if !in_word(&chars, at) => match raw_string(rest) {
                Some(length) => (length, Some('"')),
                None => (1, None),
            },
            ['\'', '\\', ..] | ['\'', _, '\'', ..] => (quoted(rest, '\''), Some('"')),
            _ => (1, None),
        };
        let length = length.min(rest.len());
        let keep = |c: &char| if *c == '\n' { '\n' } else { filler.unwrap_or(*c) };
        out.extend(rest[..length].iter().map(keep));
        at += length;
    }
    out
}

/// Whether the character before belongs to the same word; `br` and `cr` are prefixes as `r` is.
fn in_word(chars: &[char], at: usize) -> bool {
    let word = |i: usize| chars.get(i).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    match at.checked_sub(1) {
        None => false,
        Some(before) if matches!(chars[before], 'b' | 'c') => before > 0 && word(before - 1),
        Some(before) => word(before),
    }
}

fn line_comment(rest: &[char]) -> usize {
    rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    loop {
        match rest[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            [] => return at,
            _ => at += 1,
        }
    }
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while let Some(c) = rest.get(at) {
        match c {
            '\\' => at += 2,
            c if *c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a raw string, or `None` for a raw identifier.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let start = 2 + hashes;
    let ends = |window: &[char]| window[0] == '"' && window[1..].iter().all(|c| *c == '#');
    let end = rest[start..].windows(1 + hashes).position(ends);
    Some(end.map_or(rest.len(), |end| start + end + 1 + hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_found_between_literals_and_comments() {
        let text = r##"
trait T { fn declared(&self, a: [u8; 4]) -> u8; }
// fn comment() {
/* fn block() { /* nested } */ */
fn short() {}
impl<'a> S<'a> {
    fn long(c: fn(u8) -> u8) -> char {
        let brace = '}'; // }

        let quote = '\'';
        let raw = r#"fn inner() { " "#;
        let text = "\"}
            }";
        fn nested() {
            1;
        }
        'x'
    }
}
"##;
        let function = |name: &str, line, code_lines| Function { name: name.to_owned(), line, code_lines };
        assert_eq!(
            functions(text),
            [function("short", 5, 0), function("long", 7, 9), function("nested", 14, 1)]
        );
    }
}
