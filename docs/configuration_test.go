// Package docs tests the docs: generated files are current, and links, queries and names in
// hand-written files are valid.
package docs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/testkit"
)

// TestConfigurationDoc compares docs/configuration.md with the commented defaults. With -update it
// writes the file:
//
//	go test ./docs -run TestConfigurationDoc -update
func TestConfigurationDoc(t *testing.T) {
	t.Parallel()
	text, err := configurationDoc(config.DefaultYAML())
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "../configuration.md", text)

	// No comment is missing.
	for line := range strings.Lines(string(config.DefaultYAML())) {
		comment, found := strings.CutPrefix(strings.TrimSpace(line), "# ")
		if found && !strings.Contains(string(text), strings.TrimSpace(plain(comment))) {
			t.Errorf("the document lacks %q", comment)
		}
	}
}

// configurationDoc converts the commented defaults to Markdown: a heading for each section and key,
// the comments as text, and the defaults.
func configurationDoc(commented []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(commented, &root); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString("# Configuration\n\n<!-- Generated from shared/config/default.yaml by go test ./docs -run TestConfigurationDoc -update -->\n\n")
	out.WriteString(uncomment(root.HeadComment))
	out.WriteString("`collectord -print-config` and `shipperd -print-config` print the defaults as a commented file.\n")
	err := describe(&out, "", root.Content[0])
	return out.Bytes(), err
}

// describe writes the keys of a mapping.
func describe(out *bytes.Buffer, prefix string, mapping *yaml.Node) error {
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := prefix + key.Value
		if prefix == "" {
			fmt.Fprintf(out, "\n## %s\n", name)
		} else {
			fmt.Fprintf(out, "\n### `%s`\n", name)
		}
		if text := uncomment(key.HeadComment); text != "" {
			out.WriteString("\n" + strings.TrimSuffix(text, "\n"))
		}
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 {
			if err := describe(out, name+".", value); err != nil {
				return err
			}
			continue
		}
		if value.Kind == yaml.SequenceNode && len(value.Content) > 0 {
			list, err := yaml.Marshal(value)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "\nDefault:\n\n```yaml\n%s```\n", list)
			continue
		}
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\nDefault: `%s`\n", strings.TrimSpace(string(text)))
	}
	return nil
}

// plain escapes asterisks, which Markdown takes for emphasis.
func plain(line string) string {
	if strings.HasPrefix(line, "    ") {
		return line
	}
	return strings.ReplaceAll(line, "*", `\*`)
}

// uncomment removes the comment marks. Examples are indented by four more spaces, so they become
// code blocks.
func uncomment(comment string) string {
	var out strings.Builder
	for line := range strings.Lines(comment) {
		out.WriteString(plain(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "#"), " ")) + "\n")
	}
	if out.Len() > 0 {
		out.WriteString("\n")
	}
	return out.String()
}

// TestReadme_Configuration: the examples of README.md and of the guides are valid configurations.
func TestReadme_Configuration(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"../README.md", "from-node-exporter.md", "page.md", "textfile.md"} {
		_, example, _ := strings.Cut(read(t, path), "```yaml\n")
		example, _, found := strings.Cut(example, "\n```")
		if _, err := config.Parse(path, []byte(example)); !found || err != nil {
			t.Errorf("%s has no valid example: %v in %q", path, err, example)
		}
	}
}
