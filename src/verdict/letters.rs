//! Letters and signs: a word is the same however they are written.

use std::borrow::Cow;

/// A text in which signs that are written in parts are whole: Hangul (Unicode, 3.12) and kana.
pub(super) fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || !text.contains(is_part) {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len());
    for part in text.chars() {
        let last = whole.chars().next_back();
        match last.and_then(|last| joined(last, part)) {
            Some(sign) => {
                whole.pop();
                whole.push(sign);
            }
            None => whole.push(part),
        }
    }
    Cow::Owned(whole)
}

/// Whether a sign belongs to the one before it.
fn is_part(c: char) -> bool {
    matches!(c, '\u{1161}'..='\u{1175}' | '\u{11a8}'..='\u{11c2}' | '\u{3099}' | '\u{309a}')
}

fn joined(last: char, part: char) -> Option<char> {
    let (first, second) = (u32::from(last), u32::from(part));
    let sign = match (first, second) {
        (0x1100..=0x1112, 0x1161..=0x1175) => {
            0xac00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
        }
        (0xac00..=0xd7a3, 0x11a8..=0x11c2) if (first - 0xac00) % 28 == 0 => first + second - 0x11a7,
        (0x3046, 0x3099) => 0x3094,
        (0x30a6, 0x3099) => 0x30f4,
        // The voiced one stands behind the plain one, and the half-voiced one behind that.
        (0x304b..=0x3068 | 0x306f..=0x307b | 0x30ab..=0x30c8 | 0x30cf..=0x30db, 0x3099) => {
            first + 1
        }
        (0x306f..=0x307b | 0x30cf..=0x30db, 0x309a) => first + 2,
        _ => return None,
    };
    char::from_u32(sign)
}

pub(super) fn has_no_width(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{feff}')
}

pub(super) fn is_dash(c: char) -> bool {
    matches!(c, '-' | '–' | '—')
}

pub(super) fn ends_sentence(c: char) -> bool {
    matches!(c, ';' | '!' | '?' | '。' | '！' | '？' | '；')
}

pub(super) fn pauses(c: char) -> bool {
    matches!(c, ',' | ':' | '(' | '，' | '、' | '：')
}

/// A letter without its accent, so that it is the same however it is composed.
pub(super) fn without_accent(c: char) -> char {
    match c {
        '\u{e0}'..='\u{e5}' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' => 'd',
        '\u{e8}'..='\u{eb}' | 'ē' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        '\u{ec}'..='\u{ef}' | 'ī' | 'ı' => 'i',
        'ĺ' | 'ľ' | 'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        '\u{f2}'..='\u{f6}' | 'ø' | 'ő' => 'o',
        'ŕ' | 'ř' => 'r',
        'ś' | 'š' | 'ş' => 's',
        'ť' | 'ţ' => 't',
        '\u{f9}'..='\u{fc}' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ё' | 'ѐ' => 'е',
        'й' | 'ѝ' => 'и',
        'ї' => 'і',
        'ў' => 'у',
        'ά' => 'α',
        'έ' => 'ε',
        'ή' => 'η',
        'ί' | 'ϊ' | 'ΐ' => 'ι',
        'ό' => 'ο',
        'ύ' | 'ϋ' | 'ΰ' => 'υ',
        'ώ' => 'ω',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_in_parts_are_whole() {
        for (parts, whole) in [
            ("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}", "한글"),
            ("\u{304b}\u{3099}\u{30cf}\u{309a}\u{30a6}\u{3099}", "がパヴ"),
            ("\u{3099}a한\u{11ab}", "\u{3099}a한\u{11ab}"),
            ("plain", "plain"),
        ] {
            assert_eq!(composed(parts), whole);
        }
    }
}
