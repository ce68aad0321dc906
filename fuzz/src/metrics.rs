//! Reads what `/metrics` answers, as strictly as the text format is described.

use std::collections::BTreeSet;

/// Checks each line, and returns the names of all semaphores.
pub fn semaphores_in(text: &str) -> BTreeSet<String> {
    assert!(text.ends_with('\n'));
    let samples = text.split_terminator('\n').filter(|line| !line.starts_with("# "));
    let mut semaphores = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for line in samples {
        let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
        assert!(value.parse::<f64>().is_ok(), "no number: {line}");
        assert!(seen.insert((name, labels.clone())), "it stands there twice: {line}");
        let named = labels.into_iter().filter(|(key, _)| *key == "semaphore");
        if name == "throttle_count" {
            semaphores.extend(named.map(|(_, value)| value));
        }
    }
    semaphores
}

type Labels<'a> = Vec<(&'a str, String)>;

/// Name, labels and value of a line.
fn sample(line: &str) -> Option<(&str, Labels<'_>, &str)> {
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (key, quoted) = rest.split_once("=\"")?;
            let (value, behind) = unquoted(quoted)?;
            labels.push((key, value));
            match behind.strip_prefix(',') {
                Some(next) => rest = next,
                None => break rest = behind.strip_prefix('}')?,
            }
        }
    }
    Some((name, labels, rest.strip_prefix(' ')?))
}

/// The value of a label, and what stands behind its last quote.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                letter @ ('"' | '\\') => letter,
                _ => return None,
            }),
            letter => value.push(letter),
        }
    }
    None
}
