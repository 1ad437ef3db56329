// Linked into every executable of builds with AddressSanitizer: libraries stay loaded. The leak checker, which runs at exit, can
// name (and so suppress) only what is still there, and what a driver's variables refer to is a leak once they are gone: on
// some processors Mesa keeps a table of their caches so.
extern "C" int dlclose(void*) { return 0; }
