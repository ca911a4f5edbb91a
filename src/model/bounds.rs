//! How long the texts may be that are kept for good, in bytes. Whoever lets one in asks here.
//!
//! Addresses, sources and streams have their limits where they are read: `Address::parse`,
//! `SourceName::parse`, `Scope::parse`. Ids of messages and events are kept as hashes.

/// Longest note of an operator.
pub const NOTE_BYTES_MAX: usize = 4 << 10;
/// Longest notation of how far a feed has been read.
pub const CURSOR_BYTES_MAX: usize = 64 << 10;
/// Longest name of a feed.
pub const FEED_BYTES_MAX: usize = 64;
/// Longest reason why an element could not be read.
pub const REASON_BYTES_MAX: usize = 512;

/// What an operator's note must be: one line, not too long.
///
/// # Errors
/// Says what it must be.
pub fn check_note(note: &str) -> Result<(), String> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(format!("a note is at most {NOTE_BYTES_MAX} bytes long"));
    }
    if note.chars().any(char::is_control) {
        return Err("a note is one line, without control characters".to_owned());
    }
    Ok(())
}

/// A reason as it may be kept: of one line, and cut where it is too long.
pub fn reason(text: &str) -> String {
    const CUT: &str = "…";
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    if text.len() <= REASON_BYTES_MAX {
        return text.chars().map(plain).collect();
    }
    let most = REASON_BYTES_MAX - CUT.len();
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let mut kept: String = text[..end].chars().map(plain).collect();
    kept.push_str(CUT);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert_eq!(reason("no\u{7f}such\nfield: ä"), "no such field: ä");
        let fits = "x".repeat(REASON_BYTES_MAX);
        assert_eq!(reason(&fits), fits);
        for unit in ["x", "ä", "\u{85}", "𝄞"] {
            let kept = reason(&unit.repeat(REASON_BYTES_MAX + 1));
            assert!(kept.len() <= REASON_BYTES_MAX && kept.ends_with('…'), "{unit:?}");
            assert!(!kept.chars().any(char::is_control));
        }
    }

    #[test]
    fn a_note_over_its_limit_is_told_the_limit() {
        assert_eq!(check_note(&"x".repeat(NOTE_BYTES_MAX)), Ok(()));
        assert!(check_note(&"x".repeat(NOTE_BYTES_MAX + 1)).unwrap_err().contains("4096 bytes"));
        assert!(check_note("two\nlines").is_err());
    }
}
