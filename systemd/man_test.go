package systemd

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/testkit"
)

// TestConfigManPage keeps man/belabox-metrics.yaml.5 what the commented defaults
// say. "go test ./systemd -update" writes it anew.
func TestConfigManPage(t *testing.T) {
	t.Parallel()
	testkit.Golden(t, "../man/belabox-metrics.yaml.5", configManPage(string(config.DefaultYAML())))
}

// TestManPages_Render has each page rendered, which takes groff.
func TestManPages_Render(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("man/*.[58]")
	if err != nil || len(pages) != 3 {
		t.Fatalf("pages %v, %v, want 3", pages, err)
	}
	for _, page := range pages {
		var warnings bytes.Buffer
		cmd := exec.Command("groff", "-man", "-Tutf8", "-ww", "-rCHECKSTYLE=3", page)
		cmd.Stderr = &warnings
		if text, err := cmd.Output(); err != nil || warnings.Len() > 0 || len(text) < 1000 {
			t.Errorf("%s: %v, %d bytes, %s", page, err, len(text), &warnings)
		}
	}
}

const manHead = `.\" Made of the commented defaults by "go test ./systemd -update".
.TH BELABOX\-METRICS.YAML 5 "" belabox\-metrics "File Formats"
.SH NAME
belabox\-metrics.yaml \- the configuration of belabox\-collectord and belabox\-shipperd
.SH SYNOPSIS
.I /etc/belabox\-metrics/config.yaml
.SH DESCRIPTION
`

const manFoot = `.SH "SEE ALSO"
.BR belabox\-collectord (8),
.BR belabox\-shipperd (8)
`

// configManPage makes a page of a YAML file whose comments stand in front of the
// keys they explain. Two more columns of indent in a comment make an example.
func configManPage(text string) []byte {
	p := manPage{}
	p.WriteString(manHead)
	for line := range strings.Lines(text) {
		p.line(strings.TrimRight(line, "\n"))
	}
	p.WriteString(manFoot)
	return p.Bytes()
}

type manPage struct {
	bytes.Buffer
	comment []string
	path    []string // the keys above the line, one for each two columns
	keys    bool     // the list of keys has begun
	list    bool     // the line before was an item of a list
}

func (p *manPage) line(line string) {
	body := strings.TrimLeft(line, " ")
	depth := (len(line) - len(body)) / 2
	if !strings.HasPrefix(body, "- ") {
		p.list = false
	}
	switch key, value, isKey := strings.Cut(body, ":"); {
	case strings.HasPrefix(body, "#"):
		p.comment = append(p.comment, strings.TrimPrefix(strings.TrimPrefix(body, "#"), " "))
	case body == "":
		if len(p.path) == 0 {
			p.explain("PP")
		}
	case strings.HasPrefix(body, "- "):
		item, _, _ := strings.Cut(body, " #")
		if !p.list {
			p.WriteString(".IP\nDefault:\n")
		}
		p.list = true
		fmt.Fprintf(p, ".br\n%s\n", escape(item))
	case isKey:
		p.key(depth, key, strings.TrimSpace(value))
	}
}

func (p *manPage) key(depth int, key, value string) {
	if !p.keys {
		p.keys = true
		p.WriteString(".SH KEYS\n")
	}
	p.path = append(p.path[:depth], key)
	name := escape(strings.Join(p.path, "."))
	if depth == 0 {
		fmt.Fprintf(p, ".SS %s\n", name)
		p.explain("PP")
		return
	}
	fmt.Fprintf(p, ".TP\n.B %s\n", name)
	p.explain("IP")
	if value != "" {
		fmt.Fprintf(p, ".IP\nDefault: %s\n", escape(value))
	}
}

// explain writes the comment so far, with paragraphs made by the macro.
func (p *manPage) explain(paragraph string) {
	first, example := true, false
	for i, line := range p.comment {
		switch indented := strings.HasPrefix(line, "    "); {
		case line == "":
			continue
		case indented != example && indented:
			fmt.Fprintf(p, ".%s\n.EX\n", paragraph)
		case indented != example:
			fmt.Fprintf(p, ".EE\n.%s\n", paragraph)
		case !first && i > 0 && p.comment[i-1] == "":
			fmt.Fprintf(p, ".%s\n", paragraph)
		}
		example = strings.HasPrefix(line, "    ")
		fmt.Fprintln(p, escape(strings.TrimPrefix(line, "    ")))
		first = false
	}
	if example {
		p.WriteString(".EE\n")
	}
	p.comment = nil
}

// escape keeps text from being taken for requests to the formatter.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
