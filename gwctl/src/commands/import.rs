//! The command `gwctl import`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::Import;
use crate::error::{CommandError, FailureKind};
use crate::import::{ImportError, ImportedFiles, import};
use crate::output::Report;

/// The hint for files that cannot be imported.
const IMPORT_HINT: &str =
    "give the JSON configuration with which the predecessor is started, such as caddy.json";
/// The maximum size of a configuration, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Runs `gwctl import`, which writes two new files. If one of them exists, it writes none.
pub(super) fn run(request: &Import) -> Result<Report, CommandError> {
    let ImportedFiles { controlplane, dataplane, notes } =
        import(&read_file(&request.file, "FILE").map_err(|failure| failure.hint(IMPORT_HINT))?)
            .map_err(|error| import_error(&error))?;
    let files = [("controlplane.toml", controlplane), ("dataplane.toml", dataplane)];
    let files = files.map(|(name, text)| (request.out.join(name), text));
    if let Some((existing, _)) = files.iter().find(|(path, _)| fs::symlink_metadata(path).is_ok()) {
        let message = format!("{} already exists and is not overwritten", existing.display());
        return Err(CommandError::new(FailureKind::Conflict, message)
            .flag("--out")
            .hint("choose another directory, or move the existing file"));
    }
    for (path, text) in &files {
        write_new(path, text)?;
    }
    let paths = files.map(|(path, _)| path.display().to_string());
    let mut text = format!("{}\n{}", paths[0], paths[1]);
    for note in &notes {
        text += &format!("\n- {note}");
    }
    text += "\nCheck them with: webgateway-controlplane --config controlplane.toml --check\n\
             and: webgateway-dataplane --config dataplane.toml --check";
    Ok(Report::new(json!({ "controlplane": paths[0], "dataplane": paths[1], "notes": notes }), text))
}

/// Reads a file, or stdin if the path is `-`. `flag` is the flag at fault in errors.
pub(super) fn read_file(file: &Path, flag: &'static str) -> Result<String, CommandError> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        let source: Box<dyn Read> =
            if file == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
        let read = source.take(MAX_FILE + 1).read_to_string(&mut text)? as u64;
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB");
        if read > MAX_FILE { Err(too_large()) } else { Ok(text) }
    };
    read().map_err(|error| {
        CommandError::new(FailureKind::Usage, format!("{} cannot be read: {error}", file.display()))
            .flag(flag)
    })
}

fn import_error(error: &ImportError) -> CommandError {
    CommandError::new(FailureKind::Usage, error).flag("FILE").hint(IMPORT_HINT)
}

fn write_new(path: &PathBuf, text: &str) -> Result<(), CommandError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        CommandError::new(FailureKind::Unexpected, format!("{} cannot be written: {error}", path.display()))
            .flag("--out")
            .hint("the directory must exist and be writable for the user who runs gwctl")
    })
}
