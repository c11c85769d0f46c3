//! `forecourt import`: a policy from what describes an API already.

mod body;
mod convert;
mod diff;
mod discriminator;
mod documents;
mod draft;
mod google;
mod issuers;
mod mend;
mod openapi;
mod parameters;
mod report;
mod schema;
mod security;
mod write;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use diff::{Change, Diff, Way};
pub use documents::Documents;
pub use draft::Draft;
pub use issuers::Issuers;
pub use openapi::{Imported, Options};
pub use report::{Kind, Report};
use serde_json::Value;

use super::Format;
use super::output::{Failure, exit, note, say};
use super::policy_file::{Finding, LoadError, document, locate};

/// Make a policy from what describes an API already
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum From {
    Openapi(OpenApi),
}

/// Make a policy from an OpenAPI document: 3.0, 3.1 or Swagger 2.0, JSON or YAML
///
/// The policy goes to standard output: a route for each operation, the schemas that they use, and
/// access rules from the security requirements. What the policy does not express, and what had to be
/// guessed, is counted on standard error and listed by --report with its place in the document.
///
/// Exit code 0: the policy is complete, or closed with TODOs at which `forecourt check` stops.
/// 1: the document is refused, or --diff found something looser. 2: a file cannot be read.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct OpenApi {
    /// The document; `-` for standard input
    file: PathBuf,
    /// Who issues the tokens of the document's security schemes: `issuers` as in a policy, and
    /// `securitySchemes`, from a scheme's name to an issuer's or `ignore`
    #[arg(long, value_name = "FILE")]
    issuers: Option<PathBuf>,
    /// What stands before every path, instead of what the document's servers say
    #[arg(long, value_name = "PATH", value_parser = base_path)]
    base_path: Option<String>,
    /// Import only operations with this tag, operationId or `METHOD /path`; may be repeated
    #[arg(long, value_name = "TAG|OPERATION")]
    only: Vec<String>,
    /// The folder that holds the document and all files it refers to; the document's own if not
    /// given. Nothing outside it is read
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// List what the policy does not express or had to be guessed, in a file or on standard error
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    report: Option<PathBuf>,
    /// Print what the policy changes instead of the policy, loosened rules first. OLD is a policy, or
    /// another document, which is imported in the same way. Exit code 1: something is looser than
    /// before, or it cannot be told
    #[arg(long, value_name = "OLD")]
    diff: Option<PathBuf>,
    /// How to print the report and the changes
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  forecourt import openapi petstore.yaml > shop.yaml
  forecourt import openapi petstore.yaml --issuers issuers.yaml --report=left-out.txt > shop.yaml
  forecourt import openapi petstore.yaml --only pets --only 'GET /health' --base-path /v2
  forecourt import openapi petstore.yaml --diff shop.yaml";

fn base_path(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err("a path begins with `/`".into()),
    }
}

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        match &self.from {
            From::Openapi(openapi) => exit(openapi.run()),
        }
    }
}

/// Turns a document into a policy that can be checked: pure, but for the files that `docs` holds.
pub fn import(docs: &Documents, options: &Options) -> Result<Imported, Vec<Finding>> {
    let mut imported = openapi::import(docs, options)?;
    mend::mend(&mut imported.draft, &mut imported.report).map_err(|problems| {
        let finding = |problem: crate::config::problem::Problem| Finding {
            file: "the imported policy".into(),
            line: None,
            column: None,
            path: problem.place.as_str().to_owned(),
            message: problem.message,
        };
        problems.into_iter().map(finding).collect::<Vec<_>>()
    })?;
    Ok(imported)
}

impl OpenApi {
    fn run(&self) -> Result<(), Failure> {
        let docs = load(&self.file, self.root.as_deref())?;
        let imported = import(&docs, &self.options()?).map_err(refused)?;
        self.tell(&imported)?;
        match &self.diff {
            Some(old) => self.compare(old, &imported),
            None => say(&imported.draft.yaml()),
        }
    }

    /// Says what the policy changes.
    fn compare(&self, old: &Path, imported: &Imported) -> Result<(), Failure> {
        let (document, _) = document(old).map_err(load_failure)?;
        let old = match document.value.get("version").and_then(Value::as_str) {
            Some(version) if version.starts_with("forecourt/") => document.value,
            _ => {
                // Its folder is its own, even where the new document's was named.
                let docs = load(old, None)?;
                let imported = import(&docs, &self.options()?).map_err(refused)?;
                imported.draft.document()
            }
        };
        let diff = Diff::of(&old, &imported.draft.document());
        match self.format {
            Format::Text => say(&diff.to_string())?,
            Format::Json => say(&format!("{:#}\n", diff.json()))?,
        }
        match diff.is_safe() {
            true => Ok(()),
            false => Err(Failure::Told(1)),
        }
    }

    fn options(&self) -> Result<Options, Failure> {
        let issuers = match &self.issuers {
            None => None,
            Some(path) => {
                let (document, name) = document(path).map_err(load_failure)?;
                let issuers = Issuers::read(&document)
                    .map_err(|problems| refused(locate(problems, &document, &name)))?;
                Some(issuers)
            }
        };
        Ok(Options {
            base_path: self.base_path.clone(),
            only: self.only.clone(),
            issuers,
        })
    }

    fn tell(&self, imported: &Imported) -> Result<(), Failure> {
        let report = &imported.report;
        let (routes, schemas) = imported.draft.size();
        let text = match self.format {
            Format::Text => report.to_string(),
            Format::Json => format!("{:#}\n", report.json()),
        };
        match &self.report {
            Some(path) if path == Path::new("-") => note(text.trim_end()),
            Some(path) => fs::write(path, text).map_err(|error| {
                Failure::usage(format!("cannot write {}: {error}", path.display()))
            })?,
            None => {}
        }
        let hint = match self.report.is_none() && !report.is_empty() {
            true => " (--report lists them)",
            false => "",
        };
        note(&format!(
            "{}: {routes} routes, {schemas} schemas; {}{hint}",
            self.file.display(),
            report.summary()
        ));
        Ok(())
    }
}

/// What is wrong with a document, all of it.
fn refused(findings: Vec<Finding>) -> Failure {
    load_failure(LoadError::Refused(findings))
}

fn load_failure(error: LoadError) -> Failure {
    note(&error.to_string());
    Failure::Told(error.exit_code())
}

/// Reads a document and the files that it refers to.
fn load(path: &Path, root: Option<&Path>) -> Result<Documents, Failure> {
    let unreadable =
        |path: &Path, error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let from_stdin = path == Path::new("-");
    let text = match from_stdin {
        true => {
            let mut text = String::new();
            let limit = documents::MAX_FILE as u64 + 1;
            let read = std::io::stdin().take(limit).read_to_string(&mut text);
            read.map(|_| text)
        }
        false => fs::read_to_string(path),
    };
    let text = text.map_err(|error| unreadable(path, error))?;
    let folder = match (root, from_stdin) {
        (Some(root), _) => Some(root.to_owned()),
        (None, true) => None,
        (None, false) => {
            let parent = path.parent().filter(|parent| *parent != Path::new(""));
            Some(parent.unwrap_or(Path::new(".")).to_owned())
        }
    };
    let folder = match folder {
        Some(folder) => {
            let whole = folder.canonicalize();
            Some(whole.map_err(|error| unreadable(&folder, error))?)
        }
        None => None,
    };
    let name = match (&folder, from_stdin) {
        (Some(folder), false) => below(folder, path)?,
        _ => "-".to_owned(),
    };
    let mut read = |name: &str| read_inside(folder.as_deref(), name);
    Documents::load(&name, text, &mut read).map_err(|fault| refused(vec![fault]))
}

/// The document's path below the folder that holds it.
fn below(folder: &Path, path: &Path) -> Result<String, Failure> {
    let whole = path
        .canonicalize()
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    // A link's name counts, not what it leads to: references start from where the document is.
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let named = parent.unwrap_or(Path::new(".")).canonicalize().ok();
    let named = named
        .zip(path.file_name())
        .map(|(folder, name)| folder.join(name));
    let inside = named.as_deref().unwrap_or(&whole).strip_prefix(folder);
    let inside = inside.map_err(|_| {
        Failure::usage(format!(
            "{} does not lie in {}",
            path.display(),
            folder.display()
        ))
    })?;
    let steps = inside.iter().map(|step| step.to_string_lossy());
    Ok(steps.collect::<Vec<_>>().join("/"))
}

/// Reads a file below the folder; links that lead out of it are not followed.
fn read_inside(folder: Option<&Path>, name: &str) -> Result<String, String> {
    let Some(folder) = folder else {
        return Err(format!(
            "`{name}` cannot be found from standard input; name the folder it is in with --root"
        ));
    };
    let unreadable = |error| format!("cannot read `{name}`: {error}");
    let path = folder.join(name).canonicalize().map_err(unreadable)?;
    if !path.starts_with(folder) {
        return Err(format!("`{name}` leads out of the document's folder"));
    }
    let length = fs::metadata(&path).map_err(unreadable)?.len();
    if length > documents::MAX_FILE as u64 {
        return Err(format!("`{name}` is larger than 64 MiB"));
    }
    fs::read_to_string(&path).map_err(unreadable)
}
