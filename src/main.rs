//! The program: see `pinhole --help`.

mod cli;

/// The static build's: musl's own holds threads up.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
