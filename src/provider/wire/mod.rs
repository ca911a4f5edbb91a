//! Readings that the providers' formats share, a file for each subject.
//!
//! Adapters take them from here: where a reading lives is not their concern.

mod cut;
mod date;
mod field;
mod form;
mod recipient;
mod reply;

pub use cut::{
    element, members_by, object, page, page_of_rows, rows, rows_under, split_json, split_under,
};
pub use date::{TimeForm, ceil_second, day, decimal_time, loose_time, mail_time, time, utc_time};
pub use field::{bare_id, filled, loose_text, loose_texts, own_data, stream};
pub use form::Fields;
pub use recipient::{listed, mailbox, mailboxes};
pub use reply::{enhanced_code, reply, said_code, smtp_code};
