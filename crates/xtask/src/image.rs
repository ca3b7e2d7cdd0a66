//! `cargo xtask image`: the program built with the C library inside, and an image of it alone.
//!
//! Invariant: an image that is tagged starts (the engine has run it), is no larger than [`LIMIT`], and says which commit it is of. What
//! is sent to the engine is a folder made for it, so nothing else of the repository gets in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{root, run};

/// The size of an image, unpacked, beyond which something is in it that does not belong.
const LIMIT: u64 = 30 << 20;
/// What the image is called.
const NAME: &str = "huxiao";

/// Builds the image and, with `--save FOLDER`, writes it there as a file for `docker load`, and its checksum.
pub(crate) fn make(args: &[String]) -> Result<String, String> {
    let save = match args {
        [] => None,
        [flag, folder] if flag == "--save" => Some(PathBuf::from(folder)),
        _ => return Err("cargo xtask image [--save FOLDER]".into()),
    };
    let said = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    if !said.is_ok_and(|said| said.status.success()) {
        return Err("no container engine answers: install Docker Engine (Debian: docker.io) and start it".into());
    }
    let program = build()?;
    let context = context(&program)?;
    let version = env!("CARGO_PKG_VERSION");
    // Two images of one commit say the same: the time is the commit's. Outside a repository nothing is known of it.
    let git = |args: &[&str]| first_line(Command::new("git").args(args).current_dir(root())).ok();
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    let mut revision = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    revision.push_str(if dirty && revision != "unknown" { "-dirty" } else { "" });
    let created = git(&["log", "-1", "--format=%cI"]).unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned());
    let tags = [format!("{NAME}:{version}"), format!("{NAME}:latest")];
    let mut docker = Command::new("docker");
    docker.args(["build", "--quiet", "--file"]).arg(root().join("deploy/Containerfile"));
    let labels = [("VERSION", version), ("REVISION", &revision), ("CREATED", &created)];
    docker.args(labels.map(|(name, value)| format!("--build-arg={name}={value}")));
    let id = last_line(docker.arg(&context))?;
    let size = last_line(Command::new("docker").args(["image", "inspect", "--format", "{{.Size}}", &id]))?;
    let size: u64 = size.parse().map_err(|why| format!("docker image inspect: {why}: {size}"))?;
    if size > LIMIT {
        return Err(format!("the image has {size} bytes, more than {LIMIT}: see what grew in {}", context.display()));
    }
    // As a region runs it: what is linked dynamically, or wants to write beside its data, does not start.
    let hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"];
    run(Command::new("docker").args(["run", "--rm"]).args(hardened).arg(&id).stdout(Stdio::null()))?;
    tags.iter().try_for_each(|tag| run(Command::new("docker").args(["tag", &id, tag])))?;
    let mut said = format!("{} {} ({:.1} MiB)", tags.join(" "), short(&id), mebibytes(size));
    if let Some(folder) = save {
        said.push_str(&format!("\n{}", write_file(&folder, version, &tags)?.display()));
    }
    Ok(said)
}

/// Builds the program, in the release profile like any other, and says where it is.
fn build() -> Result<PathBuf, String> {
    let target = host()?;
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let mut cargo = Command::new("cargo");
    // What cargo says of this package to this task is nothing that the build should take for its own: some crates build anew when it changes.
    let of_this_package = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for name in std::env::vars().map(|(name, _)| name).filter(of_this_package) {
        cargo.env_remove(name);
    }
    cargo.args(["build", "--release", "--locked", "--package", "huxiao", "--bin", "huxiao"]);
    // With the target named, build scripts and macros are not linked statically: they could not be.
    cargo.args(["--target", &target, "--message-format", "json-render-diagnostics"]);
    cargo.env("RUSTFLAGS", format!("{flags} -C target-feature=+crt-static").trim()).current_dir(root());
    let text = output(&mut cargo)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executable = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    executable.ok_or_else(|| "cargo build named no executable".to_owned())
}

/// The folder that is sent to the engine, made anew beside the program.
fn context(program: &Path) -> Result<PathBuf, String> {
    let folder = program.with_file_name("image");
    let failed = |why: std::io::Error| format!("{}: {why}", folder.display());
    match fs::remove_dir_all(&folder) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(failed(why)),
        _ => {}
    }
    let data = folder.join("data");
    fs::create_dir_all(&data).map_err(failed)?;
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode;
    // Modes are taken over into the image, whatever this user's umask.
    fs::set_permissions(&data, mode(0o700)).map_err(failed)?;
    let files = [(program, "huxiao", 0o755)];
    let licences = ["LICENSE-APACHE", "LICENSE-MIT"].map(|name| (root().join(name), name, 0o644));
    let licences = licences.iter().map(|(from, name, bits)| (from.as_path(), *name, *bits));
    for (from, name, bits) in files.into_iter().chain(licences) {
        let to = folder.join(name);
        fs::copy(from, &to).map_err(failed)?;
        fs::set_permissions(&to, mode(bits)).map_err(failed)?;
    }
    Ok(folder)
}

/// Writes the image for a computer without a registry in reach, and SHA256SUMS beside it.
fn write_file(folder: &Path, version: &str, tags: &[String]) -> Result<PathBuf, String> {
    fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let name = format!("{NAME}-{version}-image.tar");
    let file = folder.join(&name);
    run(Command::new("docker")
        .args(["save", "--output"])
        .arg(std::path::absolute(&file).unwrap_or_default())
        .args(tags))?;
    let sums = output(Command::new("sha256sum").arg(&name).current_dir(folder))?;
    let path = folder.join("SHA256SUMS");
    fs::write(&path, sums).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(file)
}

/// The target that this compiler builds for by itself.
fn host() -> Result<String, String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

fn output(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let done = command.stderr(Stdio::inherit()).output().map_err(|why| format!("{shown}: {why}"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() { Ok(text) } else { Err(format!("failed: {shown}\n{text}")) }
}

fn first_line(command: &mut Command) -> Result<String, String> {
    Ok(output(command)?.lines().next().unwrap_or_default().trim().to_owned())
}

fn last_line(command: &mut Command) -> Result<String, String> {
    Ok(output(command)?.lines().last().unwrap_or_default().trim().to_owned())
}

/// An image's id as the engine's own tables show it.
fn short(id: &str) -> &str {
    let digest = id.strip_prefix("sha256:").unwrap_or(id);
    digest.get(..12).unwrap_or(digest)
}

#[expect(clippy::cast_precision_loss, reason = "for people, with one digit after the point")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
