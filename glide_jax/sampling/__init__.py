"""Drawing with a loaded model: settings and calls, edits, the cascade, and the class `Glide`.

A call is parsed (`settings`, `call`), planned for a model (`request`), and drawn batch by batch
(`batches`) by the compiled stages (`cascade`). May import model_dir and everything below it.
"""
