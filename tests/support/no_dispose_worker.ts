// The order matters: the library is loaded where the symbols are missing already.
import "./no_dispose.ts";
import "./worker.ts";
