// Package config owns the YAML: the shape of the node file and of the site files, the default of every key, and
// validation that reports every fault at once with file:line:col, the offending line and a suggestion.
//
// It never opens a socket, never reads the clock, never looks at a running node and imports nothing else of perigee's.
// Of the world outside it sees the files that the configuration names and the environment that Load is given.
//
// Start reading at schema.go: one declarative description of both files, from which validation (check.go), the JSON
// Schemas (jsonschema.go) and docs/configuration.md are made. Then defaults.go, which reads as the program of what a node
// does when nothing is said, and load.go, the way from a path to a *Node.
package config
