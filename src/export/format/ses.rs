//! Amazon SES's import of suppressed addresses, for an import job with `DataFormat` JSON: an
//! object a line, at most 100,000 a job. SES knows two reasons.
//!
//! Source: SES API version 2, CreateImportJob.

use super::field::json;
use super::key::mailbox;
use super::{Entry, Format, Rows, Shape, Unfit};
use crate::model::Reason;

const SHAPE: Shape =
    Shape { open: "{\"emailAddress\":", separator: ",\"reason\":", close: "}\n", ..Shape::LINES };

const CONFIG: &str = "\
aws s3 cp {path} \"s3://$BUCKET/suppressed.json\"
aws sesv2 create-import-job \\
  --import-destination \"SuppressionListDestination={SuppressionListImportAction=PUT}\" \\
  --import-data-source \"S3Url=s3://$BUCKET/suppressed.json,DataFormat=JSON\"
";

/// `ses`.
pub(super) struct Ses;

impl Format for Ses {
    fn name(&self) -> &'static str {
        "ses"
    }

    fn config(&self) -> &'static str {
        CONFIG
    }

    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        let reason = match entry.reason {
            Reason::Complaint | Reason::Unsubscribe => "\"COMPLAINT\"",
            _ => "\"BOUNCE\"",
        };
        rows.add(&[&json(&mailbox(entry))], &[reason]);
        Ok(())
    }
}
