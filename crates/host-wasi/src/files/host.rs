//! The functions of `wasi:filesystem/types`: those of `wasmtime-wasi`, behind what we check before.

use std::{fs::File, sync::Arc};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemCtxView},
    p2::{
        DynInputStream, DynOutputStream, FsError, FsResult,
        bindings::filesystem::types::{
            Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode,
            Filesize, Host, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags,
            PathFlags,
        },
    },
    runtime::in_tokio,
};

use super::{
    open::OpenFiles,
    stream::{Reader, Writer, fits},
};
use crate::config::MAX_DIRECTORY_ENTRIES;

/// What a host function of this call sees.
pub(super) struct View<'a> {
    /// What blocks is called with another one: see [`View::there`].
    pub(super) inner: WasiFilesystemCtxView<'a>,
    pub(super) open: &'a mut OpenFiles,
}

impl View<'_> {
    /// The file behind a handle, if it lies in a directory that may be written to.
    fn writable(&self, handle: &Resource<Descriptor>) -> FsResult<Arc<File>> {
        match self.inner.table.get(handle)? {
            Descriptor::File(file) if file.perms.write_not_permitted() => Err(ErrorCode::NotPermitted.into()),
            Descriptor::File(file) => Ok(Arc::clone(&file.file)),
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    fn push_writer(&mut self, writer: Writer) -> FsResult<Resource<DynOutputStream>> {
        let writer: DynOutputStream = Box::new(writer);
        Ok(self.inner.table.push(writer)?)
    }

    /// Runs functions of `wasmtime-wasi` with copies of these descriptors, on a thread for what blocks and with its place
    /// in the plugin's share. There they block, so that all of the operation ends before its place is free; on their own
    /// they would take threads that nobody counts. Only the copies are handles there: others belong to another table.
    async fn there<const N: usize, R: Send + 'static>(
        &mut self,
        handles: [&Resource<Descriptor>; N],
        operation: impl FnOnce(&mut WasiFilesystemCtxView<'_>, [Resource<Descriptor>; N]) -> FsResult<R> + Send + 'static,
    ) -> FsResult<R> {
        let mut table = ResourceTable::new();
        let mut copies = [0; N];
        for (copy, handle) in copies.iter_mut().zip(handles) {
            *copy = table.push(self.inner.table.get(handle)?.clone())?.rep();
        }
        let mut ctx = self.open.rules.there.clone();
        let threads = self.open.rules.threads.clone();
        let operation = move || {
            operation(&mut WasiFilesystemCtxView { ctx: &mut ctx, table: &mut table }, copies.map(Resource::new_borrow))
        };
        threads.run(operation).await
    }
}

impl Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        let error = self.inner.convert_error_code(error)?;
        // The system says the last one as well, of what nobody may do, but seldom.
        if matches!(error, ErrorCode::Quota | ErrorCode::FileTooLarge | ErrorCode::NotPermitted) {
            self.open.rules.refused();
        }
        Ok(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.inner.filesystem_error_code(error)
    }
}

impl HostDescriptor for View<'_> {
    fn read_via_stream(&mut self, fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        let Descriptor::File(file) = self.inner.table.get(&fd)? else { return Err(ErrorCode::IsDirectory.into()) };
        let file = Arc::clone(&file.file);
        let place = self.open.place(fd.rep())?;
        let reader: DynInputStream = Box::new(Reader::at(file, offset, Arc::clone(&self.open.rules), place));
        Ok(self.inner.table.push(reader)?)
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        let file = self.writable(&fd)?;
        let place = self.open.place(fd.rep())?;
        self.push_writer(Writer::at(file, offset, Arc::clone(&self.open.rules), place))
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        let file = self.writable(&fd)?;
        let place = self.open.place(fd.rep())?;
        self.push_writer(Writer::at_end(file, Arc::clone(&self.open.rules), place))
    }

    async fn advise(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
        length: Filesize,
        advice: Advice,
    ) -> FsResult<()> {
        self.there([&fd], move |files, [fd]| in_tokio(files.advise(fd, offset, length, advice))).await
    }

    async fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.there([&fd], move |files, [fd]| in_tokio(files.sync_data(fd))).await
    }

    async fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        self.there([&fd], move |files, [fd]| in_tokio(files.get_flags(fd))).await
    }

    async fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorType> {
        if let Descriptor::Dir(_) = self.inner.table.get(&fd)? {
            return Ok(DescriptorType::Directory);
        }
        self.there([&fd], move |files, [fd]| in_tokio(files.get_type(fd))).await
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        if size > self.open.rules.max_file_size {
            return Err(ErrorCode::FileTooLarge.into());
        }
        self.there([&fd], move |files, [fd]| in_tokio(files.set_size(fd, size))).await
    }

    async fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.there([&fd], move |files, [fd]| in_tokio(files.set_times(fd, accessed, modified))).await
    }

    async fn read(
        &mut self,
        fd: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.there([&fd], move |files, [fd]| in_tokio(files.read(fd, length, offset))).await
    }

    async fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        if !fits(offset, bytes.len(), self.open.rules.max_file_size) {
            return Err(ErrorCode::FileTooLarge.into());
        }
        self.there([&fd], move |files, [fd]| in_tokio(files.write(fd, bytes, offset))).await
    }

    async fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DirectoryEntryStream>> {
        let place = self.open.take()?;
        let Descriptor::Dir(directory) = self.inner.table.get(&fd)? else {
            return Err(ErrorCode::NotDirectory.into());
        };
        let directory = Arc::clone(&directory.dir);
        let rules = Arc::clone(&self.open.rules);
        let listing = self.there([&fd], move |files, [fd]| {
            // The listing is made at once and as a whole, so it is counted first.
            if has_too_many(&directory)? {
                rules.refused();
                return Err(ErrorCode::Overflow.into());
            }
            let listing = in_tokio(files.read_directory(fd))?;
            Ok(files.table.delete(listing)?)
        });
        let listing = listing.await?;
        let listing = self.inner.table.push(listing)?;
        self.open.keep(listing.rep(), place);
        Ok(listing)
    }

    async fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.there([&fd], move |files, [fd]| in_tokio(files.sync(fd))).await
    }

    async fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.there([&fd], move |files, [fd]| in_tokio(files.create_directory_at(fd, path))).await
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        self.there([&fd], move |files, [fd]| in_tokio(files.stat(fd))).await
    }

    async fn stat_at(&mut self, fd: Resource<Descriptor>, flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        self.there([&fd], move |files, [fd]| in_tokio(files.stat_at(fd, flags, path))).await
    }

    async fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.there([&fd], move |files, [fd]| in_tokio(files.set_times_at(fd, flags, path, accessed, modified))).await
    }

    async fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        old_flags: PathFlags,
        old_path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.there([&fd, &new_fd], move |files, [fd, new_fd]| {
            in_tokio(files.link_at(fd, old_flags, old_path, new_fd, new_path))
        })
        .await
    }

    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let place = self.open.take()?;
        let opened = self.there([&fd], move |files, [fd]| {
            // Opening a pipe waits for somebody at its other end, on a thread that nobody can stop.
            let same = Resource::new_borrow(fd.rep());
            if let Ok(found) = in_tokio(files.stat_at(same, path_flags, path.clone()))
                && !matches!(
                    found.type_,
                    DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink
                )
            {
                return Err(ErrorCode::NotPermitted.into());
            }
            let opened = in_tokio(files.open_at(fd, path_flags, path, open_flags, flags))?;
            Ok(files.table.delete(opened)?)
        });
        let opened = opened.await?;
        let opened = self.inner.table.push(opened)?;
        self.open.keep(opened.rep(), place);
        Ok(opened)
    }

    async fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<String> {
        self.there([&fd], move |files, [fd]| in_tokio(files.readlink_at(fd, path))).await
    }

    async fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.there([&fd], move |files, [fd]| in_tokio(files.remove_directory_at(fd, path))).await
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        old_path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.there([&fd, &new_fd], move |files, [fd, new_fd]| in_tokio(files.rename_at(fd, old_path, new_fd, new_path)))
            .await
    }

    async fn symlink_at(&mut self, fd: Resource<Descriptor>, old_path: String, new_path: String) -> FsResult<()> {
        self.there([&fd], move |files, [fd]| in_tokio(files.symlink_at(fd, old_path, new_path))).await
    }

    async fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.there([&fd], move |files, [fd]| in_tokio(files.unlink_file_at(fd, path))).await
    }

    async fn is_same_object(&mut self, a: Resource<Descriptor>, b: Resource<Descriptor>) -> wasmtime::Result<bool> {
        match self.there([&a, &b], move |files, [a, b]| Ok(in_tokio(files.is_same_object(a, b)))).await {
            Ok(same) => same,
            Err(error) => Err(error.downcast().map_or_else(|trap| trap, wasmtime::Error::from)),
        }
    }

    async fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        self.there([&fd], move |files, [fd]| in_tokio(files.metadata_hash(fd))).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.there([&fd], move |files, [fd]| in_tokio(files.metadata_hash_at(fd, flags, path))).await
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.open.leave(fd.rep());
        HostDescriptor::drop(&mut self.inner, fd)
    }
}

impl HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(
        &mut self,
        listing: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.inner.read_directory_entry(listing).await
    }

    fn drop(&mut self, listing: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.open.leave(listing.rep());
        HostDirectoryEntryStream::drop(&mut self.inner, listing)
    }
}

/// Whether a directory has more entries than may be listed.
fn has_too_many(directory: &File) -> Result<bool, ErrorCode> {
    let entries = rustix::fs::Dir::read_from(directory).map_err(|error| ErrorCode::from(&error.into()))?;
    // `.` and `..` are among them.
    Ok(entries.take(MAX_DIRECTORY_ENTRIES + 3).count() > MAX_DIRECTORY_ENTRIES + 2)
}
