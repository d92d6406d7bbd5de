//! `gwctl import`

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::Import;
use crate::error::{CommandError, Kind};
use crate::import::{ImportError, ImportedFiles, import};
use crate::output::Report;

/// The hint at what can be imported.
const PREDECESSORS: &str = "give the JSON that the predecessor is started with, such as caddy.json";
/// The largest configuration read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// `gwctl import FILE`: writes our two files; both are new, or none is written.
pub(super) fn run(request: &Import) -> Result<Report, CommandError> {
    let ImportedFiles { controlplane, dataplane, notes } =
        import(&read(&request.file, "FILE").map_err(|failure| failure.hint(PREDECESSORS))?)
            .map_err(|error| not_importable(&error))?;
    let files = [("controlplane.toml", controlplane), ("dataplane.toml", dataplane)];
    let files = files.map(|(name, text)| (request.out.join(name), text));
    if let Some((taken, _)) = files.iter().find(|(path, _)| fs::symlink_metadata(path).is_ok()) {
        let message = format!("{} is there already and is not overwritten", taken.display());
        return Err(CommandError::new(Kind::Conflict, message)
            .flag("--out")
            .hint("name another directory, or move it away"));
    }
    for (path, text) in &files {
        write_new(path, text)?;
    }
    let paths = files.map(|(path, _)| path.display().to_string());
    let mut text = format!("{}\n{}", paths[0], paths[1]);
    for note in &notes {
        text += &format!("\n- {note}");
    }
    text += "\nCheck them: webgateway-controlplane --config controlplane.toml --check, and the dataplane likewise.";
    Ok(Report::new(json!({ "controlplane": paths[0], "dataplane": paths[1], "notes": notes }), text))
}

/// A file, or stdin if it is `-`, for a flag.
pub(super) fn read(file: &Path, flag: &'static str) -> Result<String, CommandError> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        let source: Box<dyn Read> =
            if file == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
        let read = source.take(MAX_FILE + 1).read_to_string(&mut text)? as u64;
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 4 MiB");
        if read > MAX_FILE { Err(too_large()) } else { Ok(text) }
    };
    read().map_err(|error| {
        CommandError::new(Kind::Usage, format!("{} cannot be read: {error}", file.display())).flag(flag)
    })
}

fn not_importable(error: &ImportError) -> CommandError {
    CommandError::new(Kind::Usage, error).flag("FILE").hint(PREDECESSORS)
}

fn write_new(path: &PathBuf, text: &str) -> Result<(), CommandError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        CommandError::new(Kind::Unexpected, format!("{} cannot be written: {error}", path.display()))
            .flag("--out")
            .hint("its directory must exist, and be writable for the user who runs gwctl")
    })
}
