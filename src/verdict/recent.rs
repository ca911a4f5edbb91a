//! What was judged of late. Servers say few things, and each of them often: once what is echoed is
//! cut out, the replies to a whole campaign are a handful.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::text::Reading;
use super::{Reply, Told};
use crate::model::Judgement;

/// Most cases that are kept, and the longest text of one, in bytes.
const CASES_MAX: usize = 512;
const WORDS_MAX: usize = 1 << 10;

/// All that a judgement follows from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Case {
    smtp: Option<u16>,
    enhanced: Option<String>,
    told: Told,
    reading: Reading,
}

/// The judgements, by what they follow from.
#[derive(Default)]
pub(super) struct Recent(Mutex<HashMap<Case, Judgement>>);

impl Recent {
    /// The judgement of a case, which is judged if it is not known.
    pub(super) fn judge(
        &self,
        reply: &Reply<'_>,
        reading: Reading,
        told: Told,
        judge: impl FnOnce(&Reading) -> Judgement,
    ) -> Judgement {
        if reading.words.len() > WORDS_MAX {
            return judge(&reading);
        }
        let enhanced = reply.enhanced.map(str::to_owned);
        let case = Case { smtp: reply.smtp, enhanced, told, reading };
        // A panic while holding it leaves what was in it.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(judgement) = known.get(&case) {
            return judgement.clone();
        }
        let judgement = judge(&case.reading);
        if known.len() >= CASES_MAX {
            known.clear();
        }
        known.insert(case, judgement.clone());
        judgement
    }
}
