//! A dump as SQL, in a file or on standard output.

use std::io::Write;

use super::{
    extract,
    fit::check_stays,
    load::{self, Loader},
    material::{Checked, Material, is_script},
    programs,
    ready::Ready,
    run::{Request, Restorer},
};
use crate::{
    error::{Error, Result},
    postgres::connection::Session,
    util::hash,
};

impl Restorer<'_> {
    pub(super) fn write_as_sql(
        &self,
        material: &Material,
        checked: &Checked,
        request: &Request,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        self.meter.begin("writing", 0);
        self.write_sql(material, checked, request, out)?;
        out.flush()
            .map_err(|error| Error::failed("can't write the dump").because(error))
    }

    fn write_sql(
        &self,
        material: &Material,
        checked: &Checked,
        request: &Request,
        mut out: &mut (dyn Write + Send),
    ) -> Result<()> {
        let picked = &request.picked;
        if is_script(material.shape) && picked.is_everything() {
            let copied = hash::copy(&mut material.plain()?, &mut out);
            return copied
                .map(drop)
                .map_err(|error| Error::failed("can't write the dump").because(error));
        }
        let (programs, ready, entries) = match checked.about.toc() {
            Some(toc) => {
                let entries = picked.entries(toc)?;
                let programs = programs::for_script(self.search, checked.about.maker())?;
                let ready = Ready::make(material, checked, false, self.cancel)?;
                (programs, ready, entries)
            }
            None => {
                check_stays(&checked.about, &material.name())?;
                let session = Session::connect(self.info, self.cancel)?;
                let programs = self.programs(&session, &checked.about)?;
                let loader = Loader {
                    programs: &programs,
                    info: self.info,
                    cancel: self.cancel,
                };
                let ready = extract::extract(&loader, material, checked, picked)?;
                (programs, ready, None)
            }
        };
        load::to_script(&programs, &ready, entries.as_deref(), &mut out, self.cancel)
    }
}
