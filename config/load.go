package config

// Load reads the node file at path and every site file that it names. env looks up ${NAME} in values; nil means that no
// variable is set. The error is a *Errors that lists everything found wrong.
func Load(path string, env func(string) (string, bool)) (*Node, error) {
	return nil, &Errors{Problems: []Problem{{File: path, Message: "cannot be read yet"}}}
}

// Kind names one of the two files.
type FileKind string

const (
	NodeFile FileKind = "node"
	SiteFile FileKind = "site"
)

// JSONSchema returns the JSON Schema (draft 2020-12) of one of the two files, nil for any other kind.
func JSONSchema(kind FileKind) []byte { return nil }

// Diff names the keys that differ between two configurations and cannot change while a node runs, sorted. Empty means that
// new can take old's place without a restart.
func Diff(old, new *Node) []string { return nil }
