//! The program: see `narrows --help`.

mod apart;
mod assertion;
mod cli;
mod config;
mod demo;
mod doors;
mod in_process;
mod in_process_guard;
mod posts;
mod serving;
mod stamps;
#[cfg(test)]
mod vendors;

/// An exchange makes hundreds of small allocations; see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
