//! Text from outside (diagnostics, notes, payloads, addresses) as a person may be shown it: without
//! its control characters, so that no sender of mail can write to an operator's terminal, and
//! without what makes a line read as another.

use std::borrow::Cow;

/// Text for one line: a control character becomes a space or U+FFFD.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { shown(c) }).collect()
}

/// Text of several lines: keeps line feeds and tabs, else as [`clean`].
pub fn clean_lines(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\n' | '\t') { c } else { shown(c) }).collect()
}

fn shown(c: char) -> char {
    if commands(c) { char::REPLACEMENT_CHARACTER } else { c }
}

/// Whether a character does something to a terminal, or is not to be seen: it may turn the
/// direction of a line, end it, or make two addresses look alike. What joins letters and emoji is
/// needed.
fn commands(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}');
    let ends = matches!(c, '\u{2028}' | '\u{2029}');
    let hides = matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}');
    c.is_control() || turns || ends || hides
}

/// JSON that says the same, and commands no terminal.
pub fn escaped(json: &str) -> Cow<'_, str> {
    if !json.chars().any(commands) {
        return json.into();
    }
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if commands(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn nothing_from_outside_commands_the_terminal() {
        assert_eq!(clean("550 5.1.1\r\nno\tsuch"), "550 5.1.1  no such");
        assert_eq!(clean("\x1b]0;x\x07\u{9b}1m\u{202e}"), "\u{fffd}]0;x\u{fffd}\u{fffd}1m\u{fffd}");
        assert_eq!(clean_lines("a\n\tb\x1b[2J"), "a\n\tb\u{fffd}[2J");
        let hidden = "\u{200f}a\u{200b}b\u{61c}\u{2028}c\u{ad}\u{feff}\u{e0041}";
        let shown = "\u{fffd}a\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}\u{fffd}\u{fffd}";
        assert_eq!(clean(hidden), shown);
        let joined = "J\u{f6}rg \u{1f469}\u{200d}\u{1f52c}";
        assert_eq!(clean(joined), joined);
    }

    #[test]
    fn json_commands_no_terminal_and_says_the_same() {
        let row = Value::from("\u{9b}31m\u{7f}\u{202e}x\u{e0041}\n\"");
        let json = row.to_string();
        let text = escaped(&json);
        assert_eq!(text, r#""\u009b31m\u007f\u202ex\udb40\udc41\n\"""#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), row);
    }
}
