// ! Locks a file with fs2, like the Rust module on which this library was originally based. ! !
// `hold KIND FILE` prints "held" and holds the lock until its input ends; `try KIND FILE` exits !
// with 0 if the lock was free, otherwise with 1. KIND is exclusive or shared.

use fs2::FileExt;
use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if args.len() == 2 && args[1] == "--version" {
        return Ok(());
    }
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&args[3])?;
    // Calls are qualified with the trait, since Rust 1.89 added File methods with the same names.
    match (args[1].as_str(), args[2].as_str()) {
        ("hold", "shared") => FileExt::lock_shared(&file)?,
        ("hold", _) => FileExt::lock_exclusive(&file)?,
        ("try", kind) => {
            let result = if kind == "shared" {
                FileExt::try_lock_shared(&file)
            } else {
                FileExt::try_lock_exclusive(&file)
            };
            std::process::exit(if result.is_ok() { 0 } else { 1 });
        }
        _ => std::process::exit(2),
    }
    println!("held");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
