//! Tables as people read them: in columns on a terminal, or as Markdown for `docs/performance.md`.

/// How to print.
#[derive(Clone, Copy)]
pub(crate) struct Print {
    pub(crate) markdown: bool,
}

impl Print {
    /// Prints a table and an empty line.
    pub(crate) fn table(self, head: &[&str], rows: &[Vec<String>]) {
        let head: Vec<String> = head.iter().map(|&text| text.to_owned()).collect();
        let widths: Vec<_> = (0..head.len())
            .map(|column| {
                let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        self.row(&head, &widths);
        if self.markdown {
            println!("{}|", "|---".repeat(head.len()));
        }
        for row in rows {
            self.row(row, &widths);
        }
        println!();
    }

    fn row(self, cells: &[String], widths: &[usize]) {
        if self.markdown {
            println!("| {} |", cells.join(" | ").trim_start());
            return;
        }
        let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            let width = *width;
            if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
}
