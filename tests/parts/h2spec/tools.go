//go:build tools

// Package tools names the one program that is built here, so that its modules are pinned in go.mod and go.sum.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
