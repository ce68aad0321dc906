//! "Did you mean …?": the known name that is nearest to an unknown one.

/// Names below this likeness (0 to 1) are not worth suggesting.
const LIKENESS: f64 = 0.6;

/// Longer names are not compared, in bytes: comparing takes time that grows with both lengths, and
/// whoever sends an unknown name chooses its length.
const LONGEST: usize = 64;

/// The known name that is most like `unknown`, if one is like it at all.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if unknown.len() > LONGEST {
        return None;
    }
    known
        .into_iter()
        .filter(|name| name.len() <= LONGEST)
        .map(|name| (likeness(unknown, name), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(some, _), (other, _)| some.total_cmp(other))
        .map(|(_, name)| name)
}

/// One less the share of letters that would have to change, whatever their case.
fn likeness(some: &str, other: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&some.to_lowercase(), &other.to_lowercase())
}

/// Appends a suggestion to serde's complaint of an unknown field or variant. Serde names the
/// unknown one first and then all known ones, each in backticks; other texts are left as they are.
pub fn suggest(message: String) -> String {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return message;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let suggestion = quoted.next().and_then(|unknown| nearest(unknown, quoted));
    match suggestion {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code, reason = "only its name matters")]
        expires_in: String,
        #[allow(dead_code, reason = "only its name matters")]
        acquired: String,
    }

    fn complaint(json: &str) -> String {
        suggest(serde_json::from_str::<Sample>(json).unwrap_err().to_string())
    }

    #[test]
    fn misspelt_field_is_answered_with_the_nearest_one() {
        assert!(complaint(r#"{"aquire": 1}"#).ends_with("; did you mean `acquired`?"));
        assert!(complaint(r#"{"expiresIn": 1}"#).ends_with("; did you mean `expires_in`?"));
    }

    #[test]
    fn field_that_is_like_no_other_is_answered_without_a_suggestion() {
        assert!(!complaint(r#"{"zzz": 1}"#).contains("did you mean"));
    }

    /// Compared letter by letter, this would take seconds.
    #[test]
    fn long_names_are_not_compared() {
        let long = "x".repeat(100_000);
        let nested = format!("{long}`a`{}", "y".repeat(100_000));

        assert_eq!(None, nearest(&long, [long.as_str()]));
        assert!(!complaint(&format!("{{\"{nested}\": 1}}")).contains("did you mean"));
    }

    #[test]
    fn other_complaints_are_left_as_they_are() {
        assert!(complaint(r#"{"expires_in": 1}"#).starts_with("invalid type: integer `1`"));
    }
}
