//! Secrets as the configuration names them: literal, or in a file, a variable or a credential.
//!
//! No problem that is noted here shows a secret, nor any part of one.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::section::{Field, Section, shown};
use super::suspect;
use crate::secret::Secret;

/// Largest file that holds a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Most secrets in one list.
const SECRETS_MAX: usize = 16;

const FORMS: &str = "write \"…\", { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }";

type Variables = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// What stands for a secret that is not there: no adapter must find fault with its form.
const STAND_IN: &str = "not:checked";

/// What a configuration may refer to outside its file.
pub struct Environment {
    variable: Box<Variables>,
    credentials: Option<PathBuf>,
    /// Whether credentials that nobody has passed are left unchecked.
    looks_only: bool,
}

impl Environment {
    /// The environment of this process: its variables, and systemd's `$CREDENTIALS_DIRECTORY`.
    pub fn of_process() -> Environment {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Environment::new(|name| std::env::var_os(name), credentials)
    }

    /// Another environment: how a variable is looked up, and where credentials lie.
    pub fn new(
        variable: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
        credentials: Option<PathBuf>,
    ) -> Environment {
        Environment { variable: Box::new(variable), credentials, looks_only: false }
    }

    /// A variable.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        Some(value.to_string_lossy().into_owned())
    }

    /// The same for a look from outside the unit, where there are no credentials. What is loaded so
    /// is shown, and never run.
    #[must_use]
    pub fn for_a_look(self) -> Environment {
        Environment { looks_only: true, ..self }
    }
}

impl Section<'_> {
    /// A variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.environment().text(name)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// The secrets of a field: one, or a list of them. None if any cannot be used. With `text`, each
/// must be UTF-8 without control characters, as what goes into a header must.
pub(super) fn secrets(field: &Field<'_>, text: bool) -> Option<Vec<Secret>> {
    if !field.value.is_array() {
        return secret(field, text).map(|secret| vec![secret]);
    }
    let items = field.list();
    if items.is_empty() {
        field.problem("is an empty list", "name a secret, or remove the key");
        return None;
    }
    if items.len() > SECRETS_MAX {
        let what = format!("lists {} secrets", items.len());
        field.problem(what, format!("list at most {SECRETS_MAX}"));
        return None;
    }
    // Every one is read, so that every bad one is told.
    let read: Vec<Option<Secret>> = items.iter().map(|item| secret(item, text)).collect();
    read.into_iter().collect()
}

/// The secret of a field that takes one. With `text` it must be plain text.
pub(super) fn secret(field: &Field<'_>, text: bool) -> Option<Secret> {
    let bytes = match field.value {
        DeValue::String(literal) => {
            suspect::literal(field, literal);
            literal.as_bytes().to_vec()
        }
        DeValue::Table(_) => referred(field)?,
        _ => {
            field.problem(field.is_not("a secret"), FORMS);
            return None;
        }
    };
    if bytes.trim_ascii().is_empty() {
        field.problem("is an empty secret", "an empty secret would protect nothing; set one");
        return None;
    }
    if !suspect::secret(field, &bytes) {
        return None;
    }
    let secret = Secret::new(bytes);
    let plain = |text: &str| !text.chars().any(char::is_control);
    if text && !secret.reveal_text().is_some_and(plain) {
        let hint = "it goes into an HTTP header: use one line of UTF-8 text";
        field.problem("is a secret that is not plain text", hint);
        return None;
    }
    Some(secret)
}

/// Where a secret is.
pub(super) enum SecretPlace {
    /// In a file, which may change.
    File(PathBuf),
    /// It is this, or one that cannot be looked at here.
    Known(Secret),
}

/// Where the secret of a field is that takes one. It is read once, so that what is wrong is told.
pub(super) fn secret_place(field: &Field<'_>) -> Option<SecretPlace> {
    let known = secret(field, false)?;
    let of = |key: &str| {
        let table = field.value.as_table()?;
        table.get(key)?.get_ref().as_str().map(PathBuf::from)
    };
    let credentials = &field.walk.environment.credentials;
    let credential = || Some(credentials.as_ref()?.join(of("credential")?));
    let path = of("file").or_else(credential);
    Some(path.map_or(SecretPlace::Known(known), SecretPlace::File))
}

/// The bytes that a table with exactly one of the three keys refers to.
fn referred(field: &Field<'_>) -> Option<Vec<u8>> {
    let section: Section<'_> = field.table()?;
    let fields = [section.take("file"), section.take("env"), section.take("credential")];
    let given = fields.iter().flatten().count();
    let [file, env, credential] = fields;
    section.finish();
    if given != 1 {
        if !field.walk.is_bad(&field.place) {
            field.problem("does not name exactly one place to read the secret from", FORMS);
        }
        return None;
    }
    let environment = field.walk.environment;
    if let Some(field) = file {
        return of_file(&field, &field.path()?, "name a file that suppressd's user can read");
    }
    if let Some(field) = env {
        return of_variable(&field, field.text()?, environment);
    }
    credential.and_then(|field| of_credential(&field, field.text()?, environment))
}

fn of_variable(field: &Field<'_>, name: &str, environment: &Environment) -> Option<Vec<u8>> {
    let value = (environment.variable)(name);
    if value.is_none() {
        let hint = "set it for the service, for example with EnvironmentFile=";
        field.problem(format!("the environment has no variable {}", shown(name)), hint);
    }
    value.map(OsString::into_vec)
}

fn of_credential(field: &Field<'_>, name: &str, environment: &Environment) -> Option<Vec<u8>> {
    if name.contains('/') || name == "." || name == ".." {
        let hint = "write only its name, as in LoadCredential=NAME:PATH";
        field.problem(format!("{} is not the name of a credential", shown(name)), hint);
        return None;
    }
    let Some(directory) = &environment.credentials else {
        if environment.looks_only {
            let hint = format!("the unit must have LoadCredential={name}:PATH");
            field.walk.unchecked(
                &field.place,
                "is not checked here: only the unit has it".into(),
                hint,
            );
            return Some(STAND_IN.into());
        }
        let what = "there are no credentials: CREDENTIALS_DIRECTORY is not set";
        let hint = format!("run it as a unit with LoadCredential={name}:PATH, or use a file");
        field.problem(what, hint);
        return None;
    };
    let hint = format!("add LoadCredential={name}:PATH to the unit");
    of_file(field, &directory.join(name), &hint)
}

/// A file's bytes, without the newline that editors put at the end.
fn of_file(field: &Field<'_>, path: &Path, hint: &str) -> Option<Vec<u8>> {
    let shown = shown(&path.to_string_lossy());
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        // Opening a pipe could wait for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    let mut bytes = match read() {
        Ok(Some(bytes)) => {
            suspect::secret_file(field, path);
            bytes
        }
        Ok(None) => {
            field.problem(format!("{shown} is not a regular file"), hint);
            return None;
        }
        Err(error) => {
            field.problem(format!("cannot read {shown}: {error}"), hint);
            return None;
        }
    };
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        let hint = format!("a secret has at most {} KiB", SECRET_BYTES_MAX / 1024);
        field.problem(format!("{shown} is too large for a secret"), hint);
        return None;
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Some(bytes)
}
