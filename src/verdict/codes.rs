//! Enhanced status codes (RFC 3463) as numbers, and how far each can be trusted by itself.

/// An enhanced status code: class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Enhanced {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about.
    pub subject: u16,
    /// The detail.
    pub detail: u16,
}

impl Enhanced {
    /// From `5.1.1`. Other first digits than 2, 4 and 5 are none.
    pub fn parse(text: &str) -> Option<Enhanced> {
        let mut parts = text.split('.');
        let mut number = |most: usize| {
            let part = parts.next()?;
            let plain = !part.is_empty() && part.len() <= most;
            let plain = plain && part.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| part.parse::<u16>().ok()).flatten()
        };
        let (class, subject, detail) = (number(1)?, number(3)?, number(3)?);
        if parts.next().is_some() || !matches!(class, 2 | 4 | 5) {
            return None;
        }
        Some(Enhanced { class: class as u8, subject, detail })
    }
}

/// How far a code or a row may be trusted where nothing else speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It says nothing by itself.
    None,
    /// Words decide, if there are any.
    Weak,
    /// Words rarely contradict it.
    Strong,
    /// No words contradict that the sender is to blame; they may say for what.
    Blame,
    /// No words contradict it.
    Final,
}
