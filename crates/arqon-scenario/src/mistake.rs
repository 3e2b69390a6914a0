//! What is wrong with a scenario file: the line, and the name that was probably meant.

/// The closest of some names, if it is close.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known.map(|other| (strsim::damerau_levenshtein(name, other), other)).min()?;
    // A third of the letters may be wrong; more is another word.
    (nearest.0 > 0 && nearest.0 <= (name.len() / 3).max(2)).then_some(nearest.1)
}

/// ` (did you mean ...?)`, or nothing.
pub(crate) fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known.into_iter()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// What the parser says, and what was probably meant: it lists all that it knows after the name that it does not know.
pub(crate) fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    match quoted.split_first() {
        Some((name, known)) if unknown => {
            format!("{}{}", text.trim_end(), meant(name, known.iter().copied()))
        }
        _ => text,
    }
}

/// The message with the line in front on which the first quoted name of it stands, if it stands in the text.
pub(crate) fn locate(text: &str, message: &str) -> String {
    for name in message.split('`').skip(1).step_by(2) {
        let quoted = format!("\"{name}\"");
        let found = text.lines().position(|line| {
            let line = line.split('#').next().unwrap_or_default();
            line.contains(&quoted) || line.split([' ', '=', '{', ',']).any(|word| word == name)
        });
        if let Some(line) = found {
            return format!("line {}: {message}", line + 1);
        }
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_known_is_recognised_and_another_is_not() {
        let known = ["count", "encoding", "arrive"];
        assert_eq!(meant("cuont", known), "; did you mean `count`?");
        assert_eq!(meant("encodign", known), "; did you mean `encoding`?");
        assert_eq!(meant("colour", known), "");
        assert_eq!(meant("x", []), "");
    }

    #[test]
    fn the_line_is_that_of_the_name_and_not_of_a_comment() {
        let text = "why = \"a\"\n# \"no_dupes\"\nsafety = [\"no_dupes\"]\n";
        assert_eq!(locate(text, "`no_dupes` is no oracle"), "line 3: `no_dupes` is no oracle");
        assert_eq!(locate(text, "`else` is not there"), "`else` is not there");
        assert_eq!(locate("[limits]\nof = 1\n", "`of` is wrong"), "line 2: `of` is wrong");
    }
}
