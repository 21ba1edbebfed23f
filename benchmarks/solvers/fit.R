# One solver of R, until it is killed: Rscript fit.R SOLVER FOLDER rows columns rank threads
# Prints a line for each checkpoint when its factors are in FOLDER: iterations, wall and CPU seconds, the most bytes that
# this process has held.

given <- commandArgs(TRUE)
folder <- given[2]
sizes <- as.integer(given[3:6])
m <- sizes[1]; n <- sizes[2]; rank <- sizes[3]; threads <- sizes[4]

path <- function(name) file.path(folder, name)
doubles <- function(name) readBin(path(name), "double", file.size(path(name)) / 8)
integers <- function(name) readBin(path(name), "integer", file.size(path(name)) / 4, 4)

suppressPackageStartupMessages(library(Matrix))
x <- if (file.exists(path("values"))) {
  new("dgCMatrix", p = integers("pointers"), i = integers("rows"), x = doubles("values"), Dim = c(m, n))
} else matrix(doubles("x"), m, n)
w <- matrix(doubles("w"), m, rank)
h <- matrix(doubles("h"), rank, n)

# --- the clock, which runs inside `timed` alone

spent <- c(wall = 0, cpu = 0)
timed <- function(expression) {
  before <- proc.time()
  value <- force(expression)
  took <- proc.time() - before
  spent <<- spent + c(took[["elapsed"]], took[["user.self"]] + took[["sys.self"]])
  value
}
peak <- function() {
  status <- "/proc/self/status"
  line <- if (file.exists(status)) grep("^VmHWM:", readLines(status), value = TRUE) else "0"
  1024 * as.numeric(gsub("[^0-9]", "", line))
}
reached <- function(iterations, w, h) {
  writeBin(as.vector(as.matrix(w)), path(paste0("w-", iterations)))
  writeBin(as.vector(as.matrix(h)), path(paste0("h-", iterations)))
  cat(iterations, spent, format(peak(), scientific = FALSE), "\n")
  flush(stdout())
}

# --- the solvers

# It takes no start, and a fit cannot go on: each checkpoint is a fit of its own, and the clock counts that one alone.
rcppml <- function() {
  suppressPackageStartupMessages(library(RcppML))
  old <- exists("setRcppMLthreads")
  if (old) setRcppMLthreads(threads)
  more <- if (old) list() else list(threads = threads)
  iterations <- 1L
  repeat {
    spent[] <<- 0
    fit <- timed(do.call(nmf, c(list(x, rank, tol = 1e-14, maxit = iterations, verbose = FALSE, seed = 1), more)))
    part <- function(name) if (isS4(fit)) methods::slot(fit, name) else fit[[name]]
    reached(iterations, part("w"), part("d") * part("h"))
    iterations <- 2L * iterations
  }
}

# A fit that is handed on keeps the memory of its extrapolation.
fasttopics <- function() {
  suppressPackageStartupMessages(library(fastTopics))
  topics <- paste0("k", seq_len(rank))
  dimnames(x) <- list(seq_len(m), seq_len(n))
  l <- w; f <- t(h)
  dimnames(l) <- list(rownames(x), topics)
  dimnames(f) <- list(colnames(x), topics)
  control <- list(nc = threads, numiter = 4, extrapolate = TRUE)
  fit <- timed(init_poisson_nmf(x, F = f, L = l, verbose = "none", control = list(nc = threads)))
  iterations <- 0L
  repeat {
    step <- as.integer(max(1, round(0.3 * iterations)))
    fit <- timed(fit_poisson_nmf(x, fit0 = fit, numiter = step, method = "scd", control = control, verbose = "none"))
    iterations <- iterations + step
    reached(iterations, fit$L, t(fit$F))
  }
}

list(rcppml = rcppml, fasttopics = fasttopics)[[given[1]]]()
