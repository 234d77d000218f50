//! Sanitizes text of others: what would do something to a terminal is shown in place of being done.

use std::fmt::Write as _;

use serde_json::Value;

/// Makes one line of a text. Some of it comes from the network, or from another user's program.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if acts(character) {
            let _infallible = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Makes one line of a JSON text that means the same.
pub(super) fn json_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            // As they are they stand between values alone (RFC 8259 §2, §7).
            '\n' | '\r' | '\t' => line.push(' '),
            // All of them fit into one unit of UTF-16.
            _ if acts(character) => {
                let _infallible = write!(line, "\\u{:04x}", u32::from(character));
            }
            _ => line.push(character),
        }
    }
    line
}

/// Makes one line of each text in a value.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(one_line(&text)),
        Value::Array(all) => all.into_iter().map(self::value).collect(),
        Value::Object(all) => {
            all.into_iter().map(|(key, value)| (one_line(&key), self::value(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Whether a character moves a cursor, begins another line, or changes the direction of what follows (Unicode's controls
/// and the explicit marks of UAX #9).
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(one_line("ab\ncd\u{1b}[2Jef\r"), "ab\\ncd\\u{1b}[2Jef\\r");
        assert_eq!(one_line("Grüße \"x\""), "Grüße \"x\"");
    }

    #[test]
    fn what_reads_backwards_or_is_a_control_of_eight_bits_is_shown() {
        assert_eq!(one_line("a\u{202e}b\u{2066}c\u{9b}2J"), "a\\u{202e}b\\u{2066}c\\u{9b}2J");
        let json = "{\"text\":\n\t\"a\u{202e}b\u{9b}2J\u{7f}\"}\r\n";
        let line = json_line(json);
        assert_eq!(line, "{\"text\":  \"a\\u202eb\\u009b2J\\u007f\"}  ");
        let read = |json: &str| serde_json::from_str::<Value>(json).expect("JSON");
        assert_eq!(read(&line), read(json), "it means the same");
        assert_eq!(value(read(json))["text"], "a\\u{202e}b\\u{9b}2J\\u{7f}");
    }
}
