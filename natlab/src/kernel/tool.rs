//! Running `ip`, `nft` and their like, with their whole input on stdin so that no shell ever reads it.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};

use super::LabError;

/// Runs a program to its end, feeds it the input and demands success.
pub(super) fn run(program: &str, args: &[&str], input: &str) -> Result<(), LabError> {
    finish(program, args, input).map(drop)
}

/// Runs a program to its end, demands success and returns what it prints.
pub(super) fn output(program: &str, args: &[&str]) -> Result<String, LabError> {
    Ok(String::from_utf8_lossy(&finish(program, args, "")?.stdout).into_owned())
}

fn finish(program: &str, args: &[&str], input: &str) -> Result<Output, LabError> {
    let output = feed(program, args, input).map_err(LabError::io(format!("running {program}")))?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LabError::Tool { tool: format!("{program} {}", args.join(" ")), stderr, input: input.to_owned() })
}

fn feed(program: &str, args: &[&str], input: &str) -> std::io::Result<Output> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("stdin was piped");
    match stdin.write_all(input.as_bytes()) {
        // It gave up before it read everything; its exit status and stderr say why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written?,
    }
    drop(stdin);
    child.wait_with_output()
}
