package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"strings"

	"modernc.org/sqlite"
)

// keptStatements bounds the prepared statements of a connection: each takes some kB.
const keptStatements = 32

// openDB is sql.Open for the connections of this package. To parse and plan a statement takes
// longer than to run it, so a connection keeps those that it has prepared. Its transactions are
// IMMEDIATE: a deferred one that turns to writing fails at once with BUSY_SNAPSHOT.
func openDB(dsn string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{c}), nil
}

type connector struct{ driver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{driverConn: inner.(driverConn)}, nil
}

// driverConn is what a connection of the driver can do.
type driverConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// conn is a connection with its statements. database/sql never uses it in two goroutines at once.
type conn struct {
	driverConn
	kept []*statement // not in use, the one used last at the end
}

type statement struct {
	driver.Stmt
	query string
}

// Unwrap is for functions of the driver that take a connection.
func (c *conn) Unwrap() driver.Conn { return c.driverConn }

// keeps reports whether a statement can be run again. SQLite carries out some PRAGMAs while it
// prepares them, and what changes the schema is not repeated.
func keeps(query string) bool {
	if query == queryVersion {
		return true
	}
	word, _, _ := strings.Cut(query, " ")
	return slices.Contains([]string{"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "ROLLBACK"}, word)
}

// take returns a statement that nobody else uses: rows may still be read from one of the same text.
func (c *conn) take(ctx context.Context, query string) (*statement, error) {
	for i, s := range slices.Backward(c.kept) {
		if s.query == query {
			c.kept = slices.Delete(c.kept, i, i+1)
			return s, nil
		}
	}
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &statement{s, query}, nil
}

// put keeps a statement after its use, in the place of the one that was not used for longest.
func (c *conn) put(s *statement) error {
	if !keeps(s.query) {
		return s.Close()
	}
	c.kept = append(c.kept, s)
	if len(c.kept) <= keptStatements {
		return nil
	}
	oldest := c.kept[0]
	c.kept = slices.Delete(c.kept, 0, 1)
	return oldest.Close()
}

// ExecContext implements driver.ExecerContext. A statement that fails is not kept.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if err != nil {
		_ = s.Close() // it says the same
		return nil, err
	}
	return r, c.put(s)
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		_ = s.Close() // it says the same
		return nil, err
	}
	return &rows{r, c, s}, nil
}

// rows give their statement back when they are closed.
type rows struct {
	driver.Rows
	c *conn
	s *statement
}

func (r *rows) Close() error {
	if err := r.Rows.Close(); err != nil {
		_ = r.s.Close()
		return err
	}
	return r.c.put(r.s)
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE", nil); err != nil {
		_ = c.Rollback() // ctx may have ended after it had begun
		return nil, err
	}
	return c, nil
}

// Commit implements driver.Tx. A COMMIT that fails on a full disk or a busy file leaves the
// transaction open, and database/sql considers it over.
func (c *conn) Commit() error {
	_, err := c.ExecContext(context.Background(), "COMMIT", nil)
	if err != nil {
		_ = c.Rollback()
	}
	return err
}

// Rollback implements driver.Tx. It fails where SQLite has rolled back by itself.
func (c *conn) Rollback() error {
	_, err := c.ExecContext(context.Background(), "ROLLBACK", nil)
	return err
}

// Close implements driver.Conn. A connection with statements would never really be closed.
func (c *conn) Close() error {
	for _, s := range c.kept {
		_ = s.Close() // it says how the statement ended last
	}
	c.kept = nil
	return c.driverConn.Close()
}
