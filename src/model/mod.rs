//! The vocabulary of suppressd: addresses, events, standings, suppressions.
//!
//! Everything here is a value: no I/O, no async, no clock, no store. Time is always an argument.

mod address;
mod behind;
pub mod bounds;
mod checked;
mod class;
mod correction;
mod cuts;
mod earlier;
mod event;
mod filter;
mod gist;
mod held;
mod id;
mod never;
mod payload;
mod peer;
mod pushed;
pub mod reply;
pub mod row;
mod scope;
mod source;
mod spread;
mod standing;
mod submission;
mod suppression;
mod tally;
mod time;
pub mod trust;
mod turn;

pub use address::{Address, AddressError, OCTETS_MAX};
pub use behind::Behind;
pub use checked::Checked;
pub use class::{Class, Failure, Fault, Judgement};
pub use correction::{Correction, Reread};
pub use cuts::{Cuts, Telling};
pub use earlier::{Standing1, Standing2};
pub use event::{Event, EventKind, Lifts, Origin};
pub use filter::Filter;
pub use gist::{Gist, Sole};
pub use held::{Held, Hold, MassId};
pub use id::{EventId, IdentityParts, MessageKey};
pub use never::Never;
pub use payload::{Payload, PayloadError};
pub use peer::{Known, Peer, Reach, StreamPlace};
pub use pushed::{PushStage, PushVerb, Pushed};
pub use scope::Scope;
pub use source::{SourceName, SourceNameError};
pub use spread::Spread;
pub use standing::{Fact, Ground, Latest, Lift, Standing};
pub use submission::{Cursor, Element, Position, QuarantineId, Submission, SubmissionError};
pub use suppression::{Reason, Suppression};
pub use tally::{Bounce, TALLY_MAX, Tally};
pub use time::{Term, Time, Until};
pub use turn::Turn;
