//! Files of comma-separated values (RFC 4180), cut into records and read field by field.
//!
//! A record is kept verbatim, with the header of its file as context. Never guesses a header.

use crate::model::Element;
use crate::provider::{ELEMENTS_MAX, PageError, Unreadable};

/// The records of a file below its header.
///
/// # Errors
/// When the header lacks one of these columns, a quote is open at the end, or there are too many.
pub(super) fn elements(body: &[u8], columns: &[&str]) -> Result<Vec<Element>, PageError> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    let records = records(text).ok_or_else(|| PageError("the file was cut short".to_owned()))?;
    let (header, rows) =
        records.split_first().ok_or_else(|| PageError("the file is empty".to_owned()))?;
    let names = fields(header);
    if let Some(missing) = columns.iter().find(|name| !names.iter().any(|given| given == *name)) {
        return Err(PageError(format!("the file has no column {missing}")));
    }
    if rows.len() > ELEMENTS_MAX {
        return Err(PageError("the file has too many records".to_owned()));
    }
    let element =
        |row: &&str| Element { context: (*header).to_owned(), body: row.as_bytes().to_vec() };
    Ok(rows.iter().map(element).collect())
}

/// A record, by the names of its columns.
pub(super) struct Record {
    names: Vec<String>,
    values: Vec<String>,
}

impl Record {
    /// Reads a record, with its header as context.
    ///
    /// # Errors
    /// When it has not as many fields as its header.
    pub(super) fn parse(element: &Element) -> Result<Record, Unreadable> {
        let names = fields(&element.context);
        let values = fields(&String::from_utf8_lossy(&element.body));
        if names.len() != values.len() {
            return Err(Unreadable("the record has not as many fields as the header".to_owned()));
        }
        Ok(Record { names, values })
    }

    /// The field of a column.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let place = self.names.iter().position(|given| given == name)?;
        self.values.get(place).cloned()
    }
}

/// The records of a text, without empty lines. `None` when it ends inside quotes.
fn records(text: &str) -> Option<Vec<&str>> {
    let (mut records, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        quoted ^= c == '"';
        if c == '\n' && !quoted {
            records.push(&text[start..at]);
            start = at + 1;
        }
    }
    records.push(&text[start..]);
    let records = records.into_iter().map(|record| record.trim_end_matches('\r'));
    (!quoted).then(|| records.filter(|record| !record.is_empty()).collect())
}

/// The fields of a record, without their quotes.
fn fields(record: &str) -> Vec<String> {
    let (mut fields, mut quoted, mut after_quote) = (vec![String::new()], false, false);
    for c in record.chars() {
        if c == ',' && !quoted {
            fields.push(String::new());
        } else if c == '"' {
            // Two of them stand for one.
            if after_quote && !quoted {
                push(&mut fields, c);
            }
            quoted = !quoted;
        } else {
            push(&mut fields, c);
        }
        after_quote = c == '"';
    }
    fields
}

fn push(fields: &mut [String], c: char) {
    if let Some(field) = fields.last_mut() {
        field.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_rfc_4180_has_them() {
        for (record, read) in [
            ("a,b", vec!["a", "b"]),
            ("", vec![""]),
            (",", vec!["", ""]),
            ("\"a,b\",c", vec!["a,b", "c"]),
            ("\"a\"\"b\",\"\"", vec!["a\"b", ""]),
            ("\"\"\"\",x", vec!["\"", "x"]),
            ("\"a\nb\",ä", vec!["a\nb", "ä"]),
        ] {
            assert_eq!(fields(record), read, "{record:?}");
        }
    }

    #[test]
    fn files_are_cut_into_records() {
        let cut = |text: &str| {
            let elements = elements(text.as_bytes(), &["a", "b"]).ok()?;
            Some(elements.into_iter().map(|e| String::from_utf8(e.body).unwrap()).collect())
        };
        let lines =
            |lines: &[&str]| Some(lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        assert_eq!(cut("a,b\r\n1,2\r\n\r\n3,4"), lines(&["1,2", "3,4"]));
        assert_eq!(cut("\u{feff}\"b\",a,c\n\"1\n2\",3,4\n"), lines(&["\"1\n2\",3,4"]));
        assert_eq!(cut("a,b\n"), lines(&[]));
        for bad in ["", "\n", "a\n1", "1,2\n3,4", "a,b\n\"1", "{\"a\":\"b\"}", "<html>"] {
            assert_eq!(cut(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_record_with_other_fields_than_its_header_is_not_read() {
        let record = |body: &str| {
            Record::parse(&Element { context: "b,a".to_owned(), body: body.into() }).ok()
        };
        assert_eq!(record("1,2").and_then(|record| record.get("a")).as_deref(), Some("2"));
        assert!(record("1,2").is_some_and(|record| record.get("c").is_none()));
        assert!(record("1").is_none() && record("1,2,3").is_none());
    }
}
