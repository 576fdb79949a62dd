package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// form is the shape of a node of the YAML tree.
type form uint8

const (
	formNull form = iota
	formScalar
	formList
	formBlock
)

func (f form) String() string {
	return [...]string{"nothing", "a single value", "a list", "a block of keys"}[f]
}

// node is one node of a file's YAML with its place: what is left when comments, quotes, anchors and aliases are gone.
type node struct {
	form    form
	text    string // of a scalar, unquoted
	quoted  bool   // it was quoted, so it is text even where it looks like a number
	at      pos
	items   []*node
	entries []entry
	size    int // nodes in this subtree, itself included
}

// entry is one key with its value.
type entry struct {
	name  string
	at    pos
	value *node
}

// Bounds of a file's shape. Real files stay far below them; what is beyond is an attack or an accident.
const (
	maxDepth    = 64      // blocks and lists within one another
	maxKeys     = 20_000  // keys in one file; the parser calls itself for each key of a block, and copies those before it
	maxTokens   = 250_000 // words and signs in one file
	maxAnchors  = 1000    // anchors in one file
	maxExpanded = 10_000  // nodes that all aliases of one file stand for
)

// parseTree turns text into a tree. nil means that the file holds nothing that could be checked, and that this is reported.
func (s *source) parseTree(text string) *node {
	tokens := lexer.Tokenize(text)
	if !s.checkTokens(tokens) {
		return nil
	}
	file, err := parseTokens(tokens)
	if err != nil {
		s.faultSyntax(err)
		return nil
	}
	body := s.document(file)
	if body == nil {
		return nil
	}
	before := s.report.count()
	t := treeBuilder{source: s, anchors: make(map[string]*node)}
	root := t.build(body, 0)
	if s.report.count() != before {
		return nil
	}
	return root
}

// parseTokens keeps a panic of the YAML parser, which is not ours, from taking a serving node with it at a reload.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the YAML cannot be understood (%v)", p)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// document is the body of the file's only document.
func (s *source) document(file *ast.File) ast.Node {
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if _, directive := doc.Body.(*ast.DirectiveNode); doc.Body != nil && !directive {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		s.fault(pos{}, "", "the file is empty", "a site file begins with site: and origin:, a node file with sites:")
		return nil
	case 1:
		return bodies[0]
	}
	s.fault(start(bodies[1]), "", "the file holds several documents", `keep one, and put the others, after "---", into files of their own`)
	return nil
}

// checkTokens refuses what perigee's files have no use for and what could exhaust the parser: it calls itself for each level.
func (s *source) checkTokens(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		s.fault(pos{}, "", fmt.Sprintf("more than %d words and signs", maxTokens), "")
		return false
	}
	depth, keys, anchors, dashes, dashLine := 0, 0, 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			if t.Position.Line != dashLine {
				dashes, dashLine = 0, t.Position.Line
			}
			dashes++
		case token.MappingValueType:
			keys++
		case token.AnchorType:
			anchors++
		case token.TagType:
			s.fault(place(t), "", "tags are not used here", `take out `+quote(t.Value)+`; text that looks like a number needs no mark`)
			return false
		case token.MappingKeyType:
			s.fault(place(t), "", `"?" keys are not used here`, `write "key: value"`)
			return false
		}
		beyond := ""
		switch {
		case depth > maxDepth || dashes > maxDepth:
			beyond = fmt.Sprintf("more than %d levels", maxDepth)
		case keys > maxKeys:
			beyond = fmt.Sprintf("more than %d keys", maxKeys)
		case anchors > maxAnchors:
			beyond = fmt.Sprintf("more than %d anchors", maxAnchors)
		}
		if beyond != "" {
			s.fault(place(t), "", beyond, "")
			return false
		}
	}
	return true
}

// faultSyntax reports what the YAML parser says, at its place.
func (s *source) faultSyntax(err error) {
	var at interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &at) && at.GetToken() != nil {
		s.fault(place(at.GetToken()), "", "YAML: "+at.GetMessage(), syntaxHint(at.GetMessage()))
		return
	}
	s.fault(pos{}, "", "YAML: "+err.Error(), "")
}

// syntaxHint says what usually stands behind a message of the YAML parser.
func syntaxHint(message string) string {
	hints := []struct{ part, hint string }{
		{"mapping value is not allowed", `a value that holds ": " needs quotes; a nested key needs a line of its own, indented`},
		{"value is not allowed in this context", "check the indentation of this line against the lines above"},
		{"reserved character", "put the value in quotes"},
		{"end character", "close the quotation mark"},
		{"sequence end token", `close the list with "]"`},
		{"',' or ']'", `separate items by "," and close the list with "]"`},
		{"',' or '}'", `separate keys by "," and close the block with "}"`},
		{"flow map", `close the block with "}"`},
	}
	for _, h := range hints {
		if strings.Contains(message, h.part) {
			return h.hint
		}
	}
	return ""
}

func place(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{}
	}
	return pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// treeBuilder turns the parser's nodes into ours. Aliases share the node that they name; expanded counts what they stand for.
type treeBuilder struct {
	*source
	anchors  map[string]*node
	expanded int
}

func (t *treeBuilder) build(n ast.Node, depth int) *node {
	if depth > maxDepth {
		t.fault(place(n.GetToken()), "", fmt.Sprintf("more than %d levels", maxDepth), "")
		return &node{size: 1}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return t.block(start(n), n.Values, depth)
	case *ast.MappingValueNode:
		return t.block(start(n), []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		return t.list(n, depth)
	case *ast.AnchorNode:
		value := t.build(n.Value, depth+1)
		t.anchors[anchorName(n.Name)] = value
		return value
	case *ast.AliasNode:
		return t.alias(n)
	case *ast.NullNode:
		return &node{form: formNull, at: place(n.GetToken()), size: 1}
	case *ast.LiteralNode:
		return &node{form: formScalar, text: n.Value.Value, quoted: true, at: place(n.Start), size: 1}
	case *ast.StringNode:
		quoted := n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
		return &node{form: formScalar, text: n.Value, quoted: quoted, at: place(n.Token), size: 1}
	case ast.ScalarNode:
		return &node{form: formScalar, text: n.GetToken().Value, at: place(n.GetToken()), size: 1}
	}
	t.fault(place(n.GetToken()), "", "YAML: "+n.Type().String()+" is not used here", "")
	return &node{size: 1}
}

// start is where a node begins: a block without braces at its first key.
func start(n ast.Node) pos {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return place(n.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return place(n.Key.GetToken())
	}
	return place(n.GetToken())
}

func anchorName(n ast.Node) string {
	if n == nil {
		return ""
	}
	return n.GetToken().Value
}

func (t *treeBuilder) list(n *ast.SequenceNode, depth int) *node {
	out := &node{form: formList, at: place(n.Start), size: 1}
	for _, item := range n.Values {
		child := t.build(item, depth+1)
		out.items = append(out.items, child)
		out.size += child.size
	}
	return out
}

func (t *treeBuilder) block(at pos, values []*ast.MappingValueNode, depth int) *node {
	out := &node{form: formBlock, at: at, size: 1}
	var merged []entry
	known := make(map[string]bool, len(values))
	for _, v := range values {
		value := t.build(v.Value, depth+1)
		out.size += value.size
		if v.Key.IsMergeKey() {
			merged = append(merged, t.merge(v, value)...)
			continue
		}
		if name, ok := t.keyName(v.Key); ok {
			known[name] = true
			out.entries = append(out.entries, entry{name: name, at: place(v.Key.GetToken()), value: value})
		}
	}
	for _, e := range merged {
		if !known[e.name] { // what the block says itself goes before what is merged into it
			known[e.name] = true
			out.entries = append(out.entries, e)
		}
	}
	return out
}

// keyName is the text of a plain or quoted key.
func (t *treeBuilder) keyName(k ast.MapKeyNode) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.BoolNode, *ast.NullNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return k.GetToken().Value, true
	}
	t.fault(place(k.GetToken()), "", "YAML: a key must be plain text", `write "key: value"`)
	return "", false
}

// merge is what "<<" brings into a block: the entries of one block or of a list of them.
func (t *treeBuilder) merge(v *ast.MappingValueNode, value *node) []entry {
	blocks := []*node{value}
	if value.form == formList {
		blocks = value.items
	}
	var out []entry
	for _, b := range blocks {
		if b.form != formBlock {
			t.fault(place(v.Key.GetToken()), "", `"<<" wants a block of keys, got `+b.form.String(), "")
			continue
		}
		out = append(out, b.entries...)
	}
	return out
}

func (t *treeBuilder) alias(n *ast.AliasNode) *node {
	name := anchorName(n.Value)
	target, ok := t.anchors[name]
	if t.expanded > maxExpanded {
		return &node{size: 1} // reported, and once is enough
	}
	if !ok {
		hint := `an anchor is set before its first use, as in "&` + name + ` value"`
		t.fault(place(n.Start), "", "there is no anchor "+quote(name), hint)
		return &node{size: 1}
	}
	t.expanded += target.size
	if t.expanded > maxExpanded {
		t.fault(place(n.Start), "", fmt.Sprintf("the file's aliases stand for more than %d values", maxExpanded), "")
		return &node{size: 1}
	}
	return target
}
