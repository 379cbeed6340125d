// The order of the imports matters: the symbols must be missing when the library is loaded.
import "./no_dispose.ts";
import "./worker.ts";
