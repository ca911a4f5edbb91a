//! Readings that the providers' formats share, a file for each subject.
//!
//! Adapters take them from here: where a reading lives is not their concern.

mod cut;
mod date;
mod field;
mod form;
mod json;
mod recipient;
mod reply;
mod table;

pub use cut::{
    at, element, elements, members_by, page, page_of_rows, rows, rows_under, split_at, split_json,
    split_under, taken,
};
pub use date::{ceil_second, day, decimal_time, mail_time, time, utc_time};
pub use field::{
    Count, Flag, Id, Json, Part, Parts, Text, Texts, Told, When, bare_id, filled, own_data, stream,
};
pub use form::Fields;
pub use json::{Misfit, first, mended, object, parse, put, unmarked};
pub use recipient::{listed, mailbox, mailboxes};
pub use reply::{enhanced_code, reply, said_code, smtp_code};
pub use table::{Record, is_cut, records};
