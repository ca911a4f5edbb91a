//! Files of comma-separated values (RFC 4180), cut into records and read field by field.
//!
//! A record is kept verbatim, with the header of its file as context. Never guesses a header.

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::{filled, unmarked};
use crate::model::Element;
use crate::provider::{PageError, Unreadable};

/// The records of a file below its header.
///
/// # Errors
/// When it is no such file, or its header lacks one of these columns.
pub fn records(body: &[u8], columns: &[&str]) -> Result<Vec<Element>, PageError> {
    let body = unmarked(body);
    let mut reader = reader(body);
    let bad = |_| PageError("the file has no comma-separated values".to_owned());
    let names = reader.byte_headers().map_err(bad)?.clone();
    if let Some(missing) = columns.iter().find(|name| place(&names, name).is_none()) {
        return Err(PageError(format!("the file has no column {missing}")));
    }
    let at = |reader: &Reader<&[u8]>| {
        usize::try_from(reader.position().byte()).unwrap_or(body.len()).min(body.len())
    };
    let mut start = at(&reader);
    let context = String::from_utf8_lossy(body[..start].trim_ascii()).into_owned();
    let (mut rows, mut record) = (Vec::new(), ByteRecord::new());
    while reader.read_byte_record(&mut record).map_err(bad)? {
        let end = at(&reader);
        let row = body[start..end].trim_ascii().to_vec();
        rows.push(Element { context: context.clone(), body: row });
        start = end;
    }
    Ok(rows)
}

/// Whether a file ends within quotes: then its end is missing.
pub fn is_cut(body: &[u8]) -> bool {
    body.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

/// A record, by the names of its columns.
pub struct Record {
    names: ByteRecord,
    values: ByteRecord,
}

impl Record {
    /// Reads a record, with its header as context.
    ///
    /// # Errors
    /// When one of them is no record.
    pub fn parse(element: &Element) -> Result<Record, Unreadable> {
        let text = [element.context.as_bytes(), b"\n", &element.body].concat();
        let mut reader = reader(&text);
        let bad = |_| Unreadable("it is no record below its header".to_owned());
        let names = reader.byte_headers().map_err(bad)?.clone();
        let mut values = ByteRecord::new();
        reader.read_byte_record(&mut values).map_err(bad)?;
        Ok(Record { names, values })
    }

    /// Whether it has as many fields as its header.
    pub fn is_whole(&self) -> bool {
        self.names.len() == self.values.len()
    }

    /// The field of a column, unless it is blank.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = self.values.get(place(&self.names, name)?)?;
        filled(String::from_utf8_lossy(value).into_owned())
    }
}

fn reader(body: &[u8]) -> Reader<&[u8]> {
    ReaderBuilder::new().flexible(true).from_reader(body)
}

/// Where the column of that name stands, however it is spelled: `Last Event At` is `last_event_at`.
fn place(names: &ByteRecord, name: &str) -> Option<usize> {
    let folded =
        |text: &[u8]| String::from_utf8_lossy(text).trim().to_ascii_lowercase().replace(' ', "_");
    names.iter().position(|text| folded(text) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_cut_into_records() {
        let cut = |text: &str| {
            let elements = records(text.as_bytes(), &["a", "b"]).ok()?;
            Some(elements.into_iter().map(|e| String::from_utf8(e.body).unwrap()).collect())
        };
        let lines =
            |lines: &[&str]| Some(lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        assert_eq!(cut("a,b\r\n1,2\r\n\r\n3,4"), lines(&["1,2", "3,4"]));
        assert_eq!(cut("\u{feff}\"b\",a,c\n\"1\n2\",3,4\n"), lines(&["\"1\n2\",3,4"]));
        assert_eq!(cut("A, B \n1,2"), lines(&["1,2"]));
        assert_eq!(cut("a,b\n"), lines(&[]));
        for bad in ["", "\n", "a\n1", "1,2\n3,4", "{\"a\":\"b\"}", "<html>"] {
            assert_eq!(cut(bad), None, "{bad:?}");
        }
        assert!(is_cut(b"a,b\n\"1") && !is_cut(b"a,b\n\"1\"\"\""));
    }

    #[test]
    fn fields_are_found_by_the_names_of_their_columns() {
        let record = |body: &str| {
            Record::parse(&Element { context: "b,a".to_owned(), body: body.into() }).unwrap()
        };
        for (body, a) in [
            ("1,2", Some("2")),
            ("1,\"a,\"\"b\"", Some("a,\"b")),
            ("\"1\n2\",ä", Some("ä")),
            ("1,", None),
            ("1", None),
            ("", None),
        ] {
            assert_eq!(record(body).get("a").as_deref(), a, "{body:?}");
        }
        assert!(record("1,2").get("c").is_none());
        assert!(record("1,2").is_whole() && !record("1").is_whole() && !record("1,2,3").is_whole());
    }
}
