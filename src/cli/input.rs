//! A file to be read more than once: by its path, or standard input, plain or packed.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use zip::ZipArchive;

use super::failure::Failure;

/// How files begin that are packed with gzip (RFC 1952), and with zip.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZIP: &[u8] = b"PK\x03\x04";

/// A file that is open.
pub(super) struct Input {
    file: File,
    /// Its name, for messages.
    pub(super) shown: String,
    /// In lower case, without its folders; of what is packed in a zip, that one's too.
    pub(super) name: String,
    /// How long it is, in bytes.
    pub(super) length: u64,
    packing: Packing,
}

enum Packing {
    Plain,
    Gzip,
    /// The number of the file inside that is meant.
    Zip(usize),
}

impl Input {
    /// Opens a path; `-` is standard input. That, a FIFO or a device is first copied to a file
    /// without a name.
    pub(super) fn open(path: &Path) -> Result<Input, Failure> {
        let is_stdin = path == Path::new("-");
        let shown = if is_stdin { "standard input".into() } else { path.display().to_string() };
        let unread = |error: io::Error| Failure::Failed(format!("{shown}: {error}"));
        let file = if is_stdin { spooled(io::stdin().lock()) } else { reopenable(path) };
        let mut file = file.map_err(unread)?;
        let mut head = Vec::new();
        (&mut file).take(4).read_to_end(&mut head).map_err(unread)?;
        let length = file.seek(SeekFrom::End(0)).map_err(unread)?;
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase());
        let mut input = Input {
            file,
            name: name.unwrap_or_default(),
            length,
            packing: if head.starts_with(GZIP) { Packing::Gzip } else { Packing::Plain },
            shown,
        };
        if head == ZIP {
            let (number, inside) =
                input.packed().map_err(|why| Failure::Failed(format!("{}: {why}", input.shown)))?;
            input.name = format!("{}/{}", input.name, inside.to_lowercase());
            input.packing = Packing::Zip(number);
        }
        Ok(input)
    }

    /// Which file of a zip is meant, and its name: the only one with rows.
    fn packed(&self) -> Result<(usize, String), String> {
        let archive = ZipArchive::new(BufReader::new(&self.file)).map_err(|e| e.to_string())?;
        let is_list = |name: &String| {
            let name = name.to_lowercase();
            // What a Mac packs beside each file says nothing of its own.
            !name.starts_with("__macosx/")
                && [".csv", ".json", ".jsonl", ".txt"].iter().any(|end| name.ends_with(end))
        };
        let names = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned()));
        let names: Vec<String> = names.filter(is_list).collect();
        match &names[..] {
            [one] => match archive.index_for_name(one) {
                Some(number) => Ok((number, one.clone())),
                None => Err(format!("{one} cannot be found in it")),
            },
            [] => Err("the zip has no .csv, .json or .txt file in it".to_owned()),
            several => {
                let several = several.join(", ");
                Err(format!("the zip has several lists: unpack it, and import one of {several}"))
            }
        }
    }

    /// Reads it from its start. `passed` tells how many of its bytes are read so far.
    pub(super) fn read<T>(
        &self,
        passed: &Cell<u64>,
        work: impl FnOnce(&mut dyn Read) -> T,
    ) -> io::Result<T> {
        (&self.file).seek(SeekFrom::Start(0))?;
        passed.set(0);
        let mut file = Counted { file: &self.file, passed };
        match self.packing {
            Packing::Plain => Ok(work(&mut file)),
            Packing::Gzip => Ok(work(&mut MultiGzDecoder::new(BufReader::new(file)))),
            Packing::Zip(number) => {
                let mut archive = ZipArchive::new(BufReader::new(file))?;
                Ok(work(&mut archive.by_index(number)?))
            }
        }
    }
}

struct Counted<'f> {
    file: &'f File,
    passed: &'f Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.passed.set(self.passed.get() + read as u64);
        Ok(read)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// What a path names, so that it can be read more than once.
fn reopenable(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() || meta.is_dir() { Ok(file) } else { spooled(file) }
}

/// What is read once, in a file that no other process can open and that goes with this one.
fn spooled(mut from: impl Read) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!(".suppressd-import-{}", std::process::id()));
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    io::copy(&mut from, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
