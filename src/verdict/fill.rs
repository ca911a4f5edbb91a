//! Words that say nothing, and short forms of those that do.

/// Words that say nothing, sorted: `the mailbox is currently full` means what `mailbox full` does.
const FILL_WORDS: &[&str] = &[
    "a",
    "an",
    "anymore",
    "ar",
    "are",
    "be",
    "been",
    "being",
    "byl",
    "byla",
    "bylo",
    "ce",
    "cet",
    "cette",
    "currently",
    "das",
    "dem",
    "den",
    "der",
    "deze",
    "die",
    "diese",
    "dieser",
    "dieses",
    "dit",
    "een",
    "ein",
    "eine",
    "el",
    "er",
    "est",
    "esta",
    "este",
    "ete",
    "foi",
    "fue",
    "gli",
    "ha",
    "had",
    "har",
    "has",
    "hat",
    "her",
    "het",
    "his",
    "il",
    "is",
    "ist",
    "its",
    "je",
    "jest",
    "l",
    "la",
    "le",
    "les",
    "lo",
    "los",
    "now",
    "o",
    "permanently",
    "questa",
    "questo",
    "sido",
    "sind",
    "sorry",
    "stata",
    "stato",
    "that",
    "the",
    "their",
    "there",
    "this",
    "un",
    "une",
    "was",
    "were",
    "wird",
    "worden",
    "wurde",
    "zostal",
    "zostala",
    "zostalo",
];

/// Short forms, sorted, and what they stand for.
const SHORT_FORMS: &[(&str, &str)] = &[
    ("arent", "not"),
    ("cant", "cannot"),
    ("couldnt", "could not"),
    ("didnt", "did not"),
    ("doesnt", "does not"),
    ("dont", "do not"),
    ("dosnt", "does not"),
    ("hasnt", "not"),
    ("isnt", "not"),
    ("theres", ""),
    ("wasnt", "not"),
    ("wont", "will not"),
];

/// Whether a fill word of some shape is there, by the shape: most words are of none.
const FILL_SHAPES: [bool; SHAPES] = {
    let mut shapes = [false; SHAPES];
    let mut at = 0;
    while at < FILL_WORDS.len() {
        shapes[shape(FILL_WORDS[at])] = true;
        at += 1;
    }
    shapes
};

const SHAPES: usize = 1024;

/// A number by a word's length and its ends.
const fn shape(word: &str) -> usize {
    let word = word.as_bytes();
    match word {
        [] => 0,
        [first, .., last] => {
            (word.len() * 131 + *first as usize * 31 + *last as usize * 17) % SHAPES
        }
        [only] => *only as usize % SHAPES,
    }
}

/// Whether a word says nothing.
pub(super) fn says_nothing(word: &str) -> bool {
    FILL_SHAPES[shape(word)] && FILL_WORDS.binary_search(&word).is_ok()
}

/// What a short form stands for.
pub(super) fn long_form(word: &str) -> Option<&'static str> {
    let at = || SHORT_FORMS.binary_search_by_key(&word, |(short, _)| short).ok();
    (word.ends_with("nt") || word == "theres").then(at)?.map(|at| SHORT_FORMS[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up_by_halves_is_sorted() {
        assert!(FILL_WORDS.is_sorted() && SHORT_FORMS.is_sorted());
        assert!(FILL_WORDS.iter().all(|word| says_nothing(word)));
        assert!(SHORT_FORMS.iter().all(|(short, long)| long_form(short) == Some(*long)));
    }
}
